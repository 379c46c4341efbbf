"""The installed program `vaeline`: `vaeline train` runs `trainer.train`.

The program replaces its process by `python -m MODULE`, so the command keeps its
signals, exit codes and processes.
"""

import os
import sys

from pipeline.process import output

# Module and purpose of each command.
COMMANDS = {
    "synthesize": ("pipeline.synthesize", "draw a synthetic CelebA"),
    "prepare": ("pipeline.prepare", "make a dataset from raw images"),
    "verify": ("pipeline.verify", "compare a dataset with its manifest"),
    "doctor": ("trainer.doctor", "check everything that a training needs"),
    "train": ("trainer.train", "train a VAE, or resume a run"),
    "launch": ("trainer.launch", "train in several supervised processes"),
    "sweep": ("trainer.sweep", "train a run for every combination of settings"),
    "evaluate": ("trainer.evaluate", "score a run on a whole split"),
    "generate": ("trainer.generate", "make images and latents with a run"),
    "tensorboard": ("trainer.tensorboard", "show runs in TensorBoard"),
    "report": ("trainer.report", "write a run as one HTML page"),
    "export": ("trainer.export", "export a run as a SavedModel and Keras files"),
    "encode": ("pipeline.encode", "make a dataset of latents"),
}
_HELP = ("help", "--help", "-h", "-?", "--helpshort", "--helpfull")


def text() -> str:
    """Returns the list of the commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "From raw images to a trained variational autoencoder.",
            "",
            "    vaeline train --config=FILE --dataset=DIR --workdir=DIR",
            "",
            "Commands, each with its own --help:",
            *lines,
        ]
    )


def main() -> None:
    """Runs the command that the first argument names, or lists the commands."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        module, _ = COMMANDS[name]
        os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
    if name not in _HELP:
        from pipeline import contract

        sys.exit(
            f"error: {contract.without_credentials(name)} is not a command of "
            f"vaeline: give one of {', '.join(COMMANDS)}"
        )
    with output.written():
        print(text())
