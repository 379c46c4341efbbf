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
    "split", None, "Split to score; by default the split that the training evaluated."
)
_DATASET = path_flags.define(
    "dataset", None, "Directory of the dataset, if it has moved since the training."
)
_NUM_IMPORTANCE_SAMPLES = flags.DEFINE_integer(
    "num_importance_samples",
    0,
    "Draws per example for the estimate of log p(x); 0 makes no estimate.",
)
_NUM_IMPORTANCE_EXAMPLES = flags.DEFINE_integer(
    "num_importance_examples",
    None,
    "Number of leading examples of the split used to estimate log p(x); all by "
    "default.",
)
_FACTORS = path_flags.define(
    "factors",
    None,
    "File factors.csv of a synthetic dataset, to compute MIG, DCI and SAP.",
)
_PCA = flags.DEFINE_bool(
    "pca",
    False,
    "Also fit a PCA with as many components as latents, to compare its error.",
)
_LATENTS = path_flags.define(
    "latents",
    None,
    "Directory of latents that pipeline.encode wrote; splits are then not encoded "
    "again.",
)
_OUTPUT = path_flags.define(
    "output", None, "JSON file to write; by default WORKDIR/evaluation/SPLIT.json."
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
