"""Pictures of a workdir, small enough for a page."""

import contextlib
import dataclasses
import io
import pathlib
import re

from PIL import Image

# Larger pictures are shrunk to keep the page small.
_MAX_BYTES = 300_000
_MAX_JPEG_SIDE = 1200
# A larger animation is left out: as one JPEG it would not move.
_MAX_GIF_BYTES = 2_000_000
# Newest pictures that are shown of the directory `generated`.
_MAX_GENERATED = 24
# Errors that Pillow raises on a damaged picture.
ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of a run.

    Attributes:
        name: Directory of a grid in `images/`, such as `samples/sampled`; or the name
            of a file in `generated/`.
        step: Step at which a grid was drawn; 0 for a generated picture.
        width: Width in pixels.
        height: Height in pixels.
        media_type: Media type of `data`.
        data: Content of the file, or a smaller JPEG if a PNG file is large.
    """

    name: str
    step: int
    width: int
    height: int
    media_type: str
    data: bytes


def find_grids(images: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns the files of every grid by grid name, in order of steps."""
    found = {}
    for path in sorted(images.rglob("*.png")):
        # Skip unfinished files, and the curves and the strip, which have no step.
        if re.fullmatch(r"\d{9,}", path.stem):
            name = path.parent.relative_to(images).as_posix()
            found.setdefault(name, []).append(path)
    for paths in found.values():
        paths.sort(key=lambda path: int(path.stem))
    return found


def find_generated(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the newest pictures that trainer.generate wrote, in order of names."""
    times = {}
    for path in [*directory.glob("[!.]*.png"), *directory.glob("[!.]*.gif")]:
        # A file may be removed meanwhile.
        with contextlib.suppress(OSError):
            times[path] = path.stat().st_mtime
    newest = sorted(times, key=lambda path: times[path])[-_MAX_GENERATED:]
    return sorted(newest)


def read(name: str, path: pathlib.Path, step: int) -> Picture:
    """Returns a picture.

    Args:
        name: Name of the picture.
        path: PNG or GIF file.
        step: Step of the picture.

    Raises:
        OSError: If the file cannot be read; other types of `ERRORS` also say that.
        ValueError: If a GIF file is too large for a page.
    """
    data, media_type = path.read_bytes(), "image/png"
    with Image.open(io.BytesIO(data), formats=["PNG", "GIF"]) as image:
        image.load()
        width, height = image.size
        if image.format == "GIF":
            media_type = "image/gif"
            if len(data) > _MAX_GIF_BYTES:
                raise ValueError(f"{path} has {len(data)} bytes")
        elif len(data) > _MAX_BYTES:
            small = image.convert("RGB")
            small.thumbnail((_MAX_JPEG_SIDE, _MAX_JPEG_SIDE))
            buffer = io.BytesIO()
            small.save(buffer, format="JPEG", quality=85, optimize=True)
            data, media_type = buffer.getvalue(), "image/jpeg"
            width, height = small.size
    return Picture(name, step, width, height, media_type, data)
