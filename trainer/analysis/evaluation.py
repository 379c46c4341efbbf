"""All scores of a run on a whole split, and the file that holds them."""

import json
import pathlib
from typing import Any

from trainer.analysis import latent_scores, posteriors, scores
from trainer.runs import settings, trained


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
        run: Trained run from `trained.load`.
        split: Split of the run's dataset.
        num_importance_samples: See `scores.score_images`.
        num_importance_examples: See `scores.score_images`.
        factors_path: `factors.csv` of the synthetic dataset, or None.
        with_pca: Whether to score principal components too.
        latents_dir: See `posteriors.encode_split`.

    Raises:
        ValueError: If the split or the factors cannot be read, or the latents come from
            another run.
    """
    encoded = posteriors.encode_split(run, split, latents_dir)
    result: dict[str, Any] = {
        "step": run.step,
        "split": split,
        "num_examples": len(encoded.keys),
        **scores.score_images(
            run, split, num_importance_samples, num_importance_examples
        ),
        **latent_scores.score_latents(encoded),
    }
    if run.vae.classifier is not None:
        result["classifier_accuracy"] = scores.score_classifier(run, split)
    train_split = run.config.train_split
    if latent_scores.probed_features(encoded) and train_split != split:
        attributes = run.manifest.features.get("attributes")
        result["probe"] = latent_scores.score_probes(
            posteriors.encode_split(run, train_split, latents_dir),
            encoded,
            attributes.names if attributes else (),
        )
    if factors_path is not None:
        result["disentanglement"] = latent_scores.score_factors(encoded, factors_path)
    if with_pca:
        result["pca"] = scores.score_pca(run, split)
    return result


def check_output(path: pathlib.Path) -> None:
    """Checks that a file is new, or holds an earlier evaluation and may be replaced.

    Raises:
        ValueError: If the path is a directory, or the file is no evaluation.
        OSError: If the directory cannot be looked up.
    """
    if path.is_dir():
        raise ValueError(f"output={path} is a directory: give the name of a file")
    if not path.exists():
        return
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not {"step", "split"} <= body.keys():
        raise ValueError(
            f"output={path} exists and is not an evaluation: give another file name"
        )


def table(scores: dict[str, Any]) -> str:
    """Returns a line per score with its name, and its value or the range of a list."""
    lines = []
    for name, value in settings.flatten(scores, "/").items():
        if isinstance(value, list):
            text = f"{len(value)} values from {min(value):.4g} to {max(value):.4g}"
        else:
            text = f"{value:.4f}" if isinstance(value, float) else str(value)
        lines.append(f"{name:<36}{text}")
    return "\n".join(lines)
