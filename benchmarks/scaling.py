"""Measures how the cost grows with the work, and plots it.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --num_images=1000,10000,100000 --tile=CELEBA_DIR \
        --plot=docs/images/scaling.png

One curve is the time per image of pipeline.prepare by the number of images. The other
curves are the time of the flagship's step by virtual devices, by latents and by the
side of the images. Each of these curves changes one setting of the flagship, with a
smaller global batch. The steps of one curve take turns, each in its own process. Adds a
row for each point to benchmarks/history.csv.
"""

import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
from absl import app, flags
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import inputs, measuring, results, stepping

_NUM_IMAGES = flags.DEFINE_list("num_images", ["1000", "5000"], "Images to prepare.")
_TILE = flags.DEFINE_string("tile", None, "CelebA directory with images to repeat.")
_DEVICES = flags.DEFINE_list("devices", ["1", "2", "4"], "Numbers of virtual devices.")
_LATENTS = flags.DEFINE_list("latents", ["2", "100", "1024"], "Numbers of latents.")
_SIZES = flags.DEFINE_list("sizes", ["32", "64", "128", "256"], "Sides in pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Global batch size.")
_NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 5, "Turns of each step.")
_PLOT = flags.DEFINE_string("plot", None, "PNG file to write.")

_CONFIG = "configs/celeba.py"
# The flagship's five blocks halve images of 128 px down to 4.
_BASE_SHARE = 32

Curve = Mapping[int, float]


def prepare_curve() -> Curve:
    """Returns milliseconds per image of pipeline.prepare, by number of images."""
    curve = {}
    for num_images in map(int, _NUM_IMAGES.value):
        with tempfile.TemporaryDirectory() as work:
            raw = inputs.make(os.path.join(work, "raw"), num_images, _TILE.value)
            output = os.path.join(work, "dataset")
            command = [sys.executable, "-m", "pipeline.prepare"]
            usage = measuring.run([*command, f"--input={raw}", f"--output={output}"])
            if usage.failure:
                raise RuntimeError(f"{usage.failure}: {' '.join(command)}")
            shutil.rmtree(output)
        curve[num_images] = 1e3 * usage.seconds / num_images
    return curve


def step_curve(setting: str, values: Sequence[int]) -> Curve:
    """Returns milliseconds per step by the value of one setting.

    Args:
        setting: Name of the setting: `devices`, `latents` or `size`.
        values: Values of the setting.
    """
    steppers = []
    for value in values:
        devices = value if setting == "devices" else 1
        size = value if setting == "size" else 128
        changes = {
            "global_batch_size": _BATCH_SIZE.value,
            "num_batch_groups": 4,
            "base_size": size // _BASE_SHARE,
        }
        if setting == "latents":
            changes["latent_dim"] = value
        shape = (size, size, 3)
        steppers.append(stepping.Stepper(_CONFIG, devices, shape, changes))
    try:
        rounds = stepping.take_turns(steppers, _NUM_ROUNDS.value, num_steps=3)
    finally:
        for stepper in steppers:
            stepper.close()
    return dict(zip(values, 1e3 * np.median(rounds, axis=0), strict=True))


def plot(curves: Mapping[str, Curve]) -> Figure:
    """Returns a figure of the curves side by side, with logarithmic axes."""
    figure = Figure(figsize=(10, 2.8), dpi=80, layout="constrained")
    for axes, (name, curve) in zip(
        figure.subplots(1, len(curves)), curves.items(), strict=True
    ):
        axes.plot(list(curve), list(curve.values()), marker="o")
        axes.set_xscale("log", base=10 if name.startswith("images") else 2)
        axes.set_yscale("log")
        axes.margins(x=0.12)
        low, high = min(curve.values()), max(curve.values())
        axes.set_ylim(low / 2, 2 * high)
        axes.set_xticks(list(curve), [f"{value:,}" for value in curve])
        axes.minorticks_off()
        for value, milliseconds in curve.items():
            axes.annotate(
                f"{milliseconds:.3g}",
                (value, milliseconds),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize="small",
            )
        what, _, unit = name.partition(": ")
        axes.set_xlabel(what)
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
    return figure


def main(argv: list[str]) -> None:
    """Measures, prints, records and plots."""
    del argv
    curves = {
        "images: ms per image": prepare_curve(),
        "virtual devices: ms per step": step_curve(
            "devices", [int(value) for value in _DEVICES.value]
        ),
        "latents: ms per step": step_curve(
            "latents", [int(value) for value in _LATENTS.value]
        ),
        "image side: ms per step": step_curve(
            "size", [int(value) for value in _SIZES.value]
        ),
    }
    for name, curve in curves.items():
        what, _, unit = name.partition(": ")
        for value, milliseconds in curve.items():
            results.add_row(
                "scaling",
                {
                    "by": what,
                    "value": str(value),
                    "cost": f"{milliseconds:.3g} {unit}",
                    "of the first": f"{milliseconds / next(iter(curve.values())):.2f}",
                },
            )
    if _PLOT.value:
        path = pathlib.Path(_PLOT.value)
        FigureCanvasAgg(plot(curves)).print_png(str(path))


if __name__ == "__main__":
    app.run(main)
