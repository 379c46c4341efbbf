"""Scores a trained run on a whole split, as a table and as JSON.

    python -m trainer.evaluate --workdir=DIR --split=test

The averaged model gives the likelihoods. --num_importance_samples=5000 also estimates
the negative log-likelihood with that many draws for each example.
--factors=DIR/factors.csv gives the true factors of a synthetic dataset, and scores the
latents against them. --pca also reports the reconstruction error of a PCA that is
fitted on the training split with as many components as latents: the lowest error that a
linear model can reach. --latents=DIR reads the posteriors of whole splits that
pipeline.encode wrote.

Exit codes: 0 done; 1 a flag, file or setting is wrong.
"""

import json
import pathlib

from absl import flags, logging

from pipeline.process import entry, path_flags
from pipeline.storage import files
from trainer.cli import command_line
from trainer.system import atomic_files, libraries

_WORKDIR = path_flags.define("workdir", None, "Directory of the run.", required=True)
_SPLIT = flags.DEFINE_string(
    "split", None, "What to score on; by default what training evaluated."
)
_DATASET = path_flags.define(
    "dataset", None, "Where the run's dataset is, if it has moved."
)
_NUM_IMPORTANCE_SAMPLES = flags.DEFINE_integer(
    "num_importance_samples", 0, "Draws for each example's log-likelihood; 0: none."
)
_NUM_IMPORTANCE_EXAMPLES = flags.DEFINE_integer(
    "num_importance_examples",
    None,
    "Of the split's first, that the log-likelihood is of; by default all.",
)
_FACTORS = path_flags.define(
    "factors", None, "factors.csv of a synthetic dataset, for MIG, DCI and SAP."
)
_PCA = flags.DEFINE_bool(
    "pca", False, "Whether to fit principal components, as many as there are latents."
)
_LATENTS = path_flags.define(
    "latents", None, "Directory of pipeline.encode, in place of encoding splits."
)
_OUTPUT = path_flags.define(
    "output", None, "JSON file; by default WORKDIR/evaluation/SPLIT.json."
)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    libraries.load_tensorflow()
    from trainer.analysis import evaluation
    from trainer.numerics import exact
    from trainer.runs import trained

    exact.configure()
    run_dir = pathlib.Path(_WORKDIR.value)
    try:
        run = trained.load(run_dir, _DATASET.value)
        split = _SPLIT.value or run.config.eval_split
        path = pathlib.Path(
            _OUTPUT.value or run_dir / "evaluation" / f"{split.replace('+', '-')}.json"
        )
        evaluation.check_output(path)
        files.make_directory(path.parent)
        with command_line.damage_explained():
            scores = evaluation.evaluate(
                run,
                split,
                _NUM_IMPORTANCE_SAMPLES.value,
                _NUM_IMPORTANCE_EXAMPLES.value,
                _FACTORS.value,
                with_pca=_PCA.value,
                latents_dir=_LATENTS.value,
            )
        atomic_files.write(path, json.dumps(scores, indent=1).encode() + b"\n")
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(evaluation.table(scores))
    logging.info("written to %s", path)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=command_line.parse_flags)
