"""Trains and inspects variational autoencoders on prepared shards.

train        command: trains, or resumes a run
launch       command: trains in several processes, restarted when one dies
sweep        command: a run for every combination of settings
doctor       command: preflight checks of a training
evaluate     command: scores of a run on a whole split
generate     command: images and latents of a run
export       command: a run as a SavedModel and Keras files
tensorboard  command: runs in TensorBoard
report       command: a run as one HTML page
"""

# A command answers signals from here on.
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
    """Returns a trained run as an object; TensorFlow is imported at the first call.

    Args:
        path: Workdir of `trainer.train`.
        dataset: Directory of the run's dataset, if it has moved. It may be missing.
        preprocess: The user's function of a dataset that was made with
            `--preprocess=MODULE:FUNCTION`. It is called only if it is given here,
            because a run of somebody else could name any function.

    Raises:
        ValueError: If there is no run, no checkpoint can be used, or the dataset is
            another one.

    Example:
        run = trainer.load_run("runs/celeba")
        posterior = run.encode(["a.jpg", "b.jpg"])
        images = run.sample(16, seed=0)
    """
    from trainer.system import libraries

    libraries.load_tensorflow()
    from trainer.api.run import Run

    return Run(path, dataset, preprocess)
