"""Takes the screenshots of TensorBoard and of a report that the documents show.

    PYTHONPATH=. python tests/trainer/screenshots.py --workdir=RUN,OTHER

The runs are trained on synthetic faces. The script needs Chromium, and selenium
from the extra `dev`.
"""

import io
import pathlib
import tempfile
import time

from absl import app, flags
from PIL import Image

from tests.trainer.boards import serving
from tests.trainer.browsing import Browser, browsing
from trainer.reporting.html.page import write as write_page

_WORKDIR = flags.DEFINE_list("workdir", None, "Runs to show.", required=True)
_OUTPUT = flags.DEFINE_string("output", "docs/images", "Directory to write to.")

_SIZE = (1400, 900)
_NUM_COLOURS = 128
# Seconds for the projector to turn its points into place, and for curves to fade in.
_SETTLING_SECS = 4


def main(argv: list[str]) -> None:
    """Takes all screenshots."""
    del argv
    output = pathlib.Path(_OUTPUT.value)
    workdirs = [pathlib.Path(path) for path in _WORKDIR.value]
    with (
        serving(*workdirs) as board,
        tempfile.TemporaryDirectory() as profile,
        browsing(board.url, pathlib.Path(profile), _SIZE) as browser,
    ):
        browser.show_cards("scalars", "tf-scalar-card", "^objective/")
        _save(browser, output / "tensorboard_scalars.png")
        browser.show_cards("images", "tf-image-loader", "^pictures/(recon|samples$)")
        _save(browser, output / "tensorboard_images.png")
        browser.show_projector()
        _save(browser, output / "tensorboard_projector.png")
        page = pathlib.Path(profile) / "report.html"
        write_page(workdirs[0], page)
        browser.driver.get(page.as_uri())
        _save(browser, output / "report.png")


def _save(browser: Browser, path: pathlib.Path) -> None:
    time.sleep(_SETTLING_SECS)
    taken = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
    small = taken.convert("RGB").quantize(_NUM_COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    app.run(main)
