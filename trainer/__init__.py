"""Trains and inspects variational autoencoders on prepared shards.

train        command: trains a run, or resumes it
launch       command: trains in several processes, and restarts them when one dies
sweep        command: trains a run for every combination of settings
doctor       command: preflight checks of a training
evaluate     command: scores a run on a whole split
generate     command: makes images and latents with a run
export       command: exports a run as a SavedModel and Keras files
tensorboard  command: shows runs in TensorBoard
report       command: writes a run as one HTML page
"""

# After this import, a command answers signals.
from pipeline.process import interrupts  # noqa: F401

# isort: split
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.api.run import Run

__all__ = ["load_run"]


def load_run(
    path: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | None = None,
    preprocess: str | None = None,
) -> "Run":
    """Returns a trained run as an object; the first call imports TensorFlow.

    Args:
        path: Workdir of `trainer.train`.
        dataset: Directory of the run's dataset, if it has moved. By default the
            directory that training used, which need not exist any more.
        preprocess: Name of the user's function, for a dataset that was made with
            `--preprocess=MODULE:FUNCTION`. The function is called only if its name is
            given here, because a run of somebody else could name any function.

    Raises:
        ValueError: If the run is missing, it has no usable checkpoint, or the dataset
            is not the run's. The text names the argument.

    Example:
        run = trainer.load_run("runs/celeba")
        posterior = run.encode(["a.jpg", "b.jpg"])
        images = run.sample(16, seed=0)
    """
    from pipeline.process import variables
    from trainer.system import libraries

    # The figures belong to the program, such as a notebook that shows them in its page.
    libraries.load_tensorflow(kept_variables=variables.FIGURES)
    from trainer.api.run import Run

    return Run(path, dataset, preprocess)
