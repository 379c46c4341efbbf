"""Exports a trained run for use without this package: a SavedModel, and Keras files.

    python -m trainer.export --workdir=DIR --output=DIR

The export holds the averaged model, and the preprocessing of its dataset in the graph.
docs/serving.md describes the inputs and outputs of each signature. The output is
written whole or not at all. Exit codes: 0 done; 1 a flag, file or setting is wrong.
"""

import pathlib

from absl import flags, logging

from pipeline.process import entry, path_flags
from trainer.cli import command_line
from trainer.system import libraries

_WORKDIR = path_flags.define("workdir", None, "Directory of the run.", required=True)
_OUTPUT = path_flags.define(
    "output", None, "Directory to write the export to.", required=True
)
_DATASET = path_flags.define(
    "dataset", None, "Directory of the dataset, if it has moved since the training."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an existing export.")


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    libraries.load_tensorflow()
    from trainer.runs import trained
    from trainer.serving import saved_model

    output = pathlib.Path(_OUTPUT.value)
    try:
        saved_model.check_output(output, _OVERWRITE.value)
        run = trained.load(pathlib.Path(_WORKDIR.value), _DATASET.value)
        saved_model.save(run, output, overwrite=_OVERWRITE.value)
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(f"step {run.step} is exported to {output}")


if __name__ == "__main__":
    # TensorFlow logs more about a SavedModel than a user wants to read.
    logging.set_verbosity(logging.WARNING)
    entry.run(main, flags_parser=command_line.parse_flags)
