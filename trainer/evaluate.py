"""Scores a trained run on a whole split, as a table and as JSON.

    python -m trainer.evaluate --workdir=DIR --split=test

Likelihoods are of the averaged model. With --num_importance_samples=5000 the negative
log-likelihood is estimated by so many draws for each example. Of a synthetic dataset
--factors=DIR/factors.csv gives the true factors, by which the latents are judged. With
--pca the reconstruction error stands beside that of as many principal components of the
training split: the least that a linear model can have. With --latents=DIR the
posteriors of whole splits are read as pipeline.encode wrote them.

Exit codes: 0 done; 1 a flag, file or setting is wrong.
"""

import json
import pathlib
from typing import Any

from absl import flags, logging

from pipeline.process import entry, path_flags
from pipeline.storage import files
from trainer.analysis import posteriors, scores
from trainer.cli import command_line
from trainer.numerics import exact
from trainer.runs import trained
from trainer.system import atomic_files

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


def evaluate(
    run: trained.TrainedRun,
    split: str,
    num_importance_samples: int = 0,
    num_importance_examples: int | None = None,
    factors_path: str | None = None,
    *,
    with_pca: bool = False,
    latents_dir: str | None = None,
) -> dict[str, Any]:
    """Returns all scores of a run on a split, by name.

    Args:
        run: From `trained.load`.
        split: Of its dataset.
        num_importance_samples: See `scores.score_images`.
        num_importance_examples: The same.
        factors_path: `factors.csv` of the synthetic dataset, or None.
        with_pca: Whether to score principal components too.
        latents_dir: See `posteriors.encode_split`.

    Raises:
        ValueError: If the split or the factors cannot be read, or the latents are not
            the run's.
    """
    encoded = posteriors.encode_split(run, split, latents_dir)
    found: dict[str, Any] = {
        "step": run.step,
        "split": split,
        "num_examples": len(encoded.keys),
        **scores.score_images(
            run, split, num_importance_samples, num_importance_examples
        ),
        **scores.score_latents(encoded),
    }
    if run.vae.classifier is not None:
        found["classifier_accuracy"] = scores.score_classifier(run, split)
    train_split = run.config.train_split
    if scores.probed_features(encoded) and train_split != split:
        attributes = run.manifest.features.get("attributes")
        found["probe"] = scores.score_probes(
            posteriors.encode_split(run, train_split, latents_dir),
            encoded,
            attributes.names if attributes else (),
        )
    if factors_path is not None:
        found["disentanglement"] = scores.score_factors(encoded, factors_path)
    if with_pca:
        found["pca"] = scores.score_pca(run, split)
    return found


def check_output(path: pathlib.Path) -> None:
    """Checks that a file is new, or of an earlier evaluation, which is replaced.

    Raises:
        ValueError: If it is something else.
        OSError: If that cannot be found out.
    """
    if path.is_dir():
        raise ValueError(f"--output={path} is a directory: give the name of a file")
    if not path.exists():
        return
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not {"step", "split"} <= body.keys():
        raise ValueError(
            f"--output={path} is there, and is no evaluation: give another name"
        )


def table(found: dict[str, Any]) -> str:
    """Returns the scores as lines of name and value; of lists the range."""
    lines = []
    for name, value in _flat(found, ""):
        if isinstance(value, list):
            text = f"{len(value)} values from {min(value):.4g} to {max(value):.4g}"
        else:
            text = f"{value:.4f}" if isinstance(value, float) else str(value)
        lines.append(f"{name:<36}{text}")
    return "\n".join(lines)


def _flat(found: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    pairs = []
    for name, value in found.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}/")
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    exact.configure()
    run_dir = pathlib.Path(_WORKDIR.value)
    try:
        run = trained.load(run_dir, _DATASET.value)
        split = _SPLIT.value or run.config.eval_split
        path = pathlib.Path(
            _OUTPUT.value or run_dir / "evaluation" / f"{split.replace('+', '-')}.json"
        )
        check_output(path)
        files.make_directory(path.parent)
        with command_line.damage_explained():
            found = evaluate(
                run,
                split,
                _NUM_IMPORTANCE_SAMPLES.value,
                _NUM_IMPORTANCE_EXAMPLES.value,
                _FACTORS.value,
                with_pca=_PCA.value,
                latents_dir=_LATENTS.value,
            )
        atomic_files.write(path, json.dumps(found, indent=1).encode() + b"\n")
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(table(found))
    logging.info("written to %s", path)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=command_line.parse_flags)
