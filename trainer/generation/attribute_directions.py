"""Attributes of faces as directions in latent space: strips of images, and effects.

A strip shows how a face changes while its latent moves along an attribute's direction.
The effect of a step is the change of the attribute and of other attributes. Linear
probes measure the effect on faces that are decoded and encoded again.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipeline.process import bars
from trainer.analysis.examples import Examples, find_examples
from trainer.analysis.latents import directions, probe
from trainer.analysis.latents.directions import Effect
from trainer.analysis.posteriors import encode_split
from trainer.generation import sampling
from trainer.runs.trained import TrainedRun

FEATURE = "attributes"
_NUM_MEASURED = 256


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """Directions of attributes, and their effects.

    Attributes:
        names: Names of the a attributes.
        directions: `[a, latent_dim]`: mean latent with the attribute minus mean latent
            without it.
        strengths: `[s]`: factors of the directions, from `-limit` to `limit`.
        strips: `[a, s, h, w, c]` in [-1, 1]: image decoded from the latent plus the
            strength times the direction.
        effects: Effect of one step along each direction.
        most_changed: Name of the other attribute that each step changes most, or None.
    """

    names: tuple[str, ...]
    directions: np.ndarray
    strengths: np.ndarray
    strips: np.ndarray
    effects: tuple[Effect, ...]
    most_changed: tuple[str | None, ...]


def explore(
    run: TrainedRun,
    examples: Examples,
    split: str,
    chosen: Sequence[str] | None,
    limit: float,
    num_steps: int,
    seed: int,
    latents_dir: str | None = None,
) -> Arithmetic:
    """Finds the directions in the training split, and their effects in `split`.

    Args:
        run: Trained run on a dataset with attributes.
        examples: Examples; the strips show the first example.
        split: Split to measure effects on; its first examples are used.
        chosen: Attributes to try; None for all attributes that some training examples
            have and some lack.
        limit: Largest strength; strengths go from `-limit` to `limit`.
        num_steps: Number of strengths.
        seed: Seed of the decoded images.
        latents_dir: See `encode_split`.

    Raises:
        ValueError: If the dataset has no attributes, or lacks a chosen attribute.
    """
    if FEATURE not in run.manifest.features:
        raise ValueError(
            "mode=attributes needs a dataset with attributes, such as "
            f"`source=celeba` makes, but {run.dataset_dir} has "
            f"{', '.join(run.manifest.features)}"
        )
    names = run.manifest.features[FEATURE].names
    trained_on = encode_split(run, run.config.train_split, latents_dir)
    attributes = trained_on.features[FEATURE]
    attribute_directions = directions.find(trained_on.posterior_mean, attributes)
    columns = _columns(names, attribute_directions, chosen)
    probes = probe.AttributeProbes(trained_on.posterior_mean, attributes)
    measured = _Measured(run, split, probes)
    effects = [
        measured.step(column, attribute_directions[column])
        for column in bars.over(columns, "effects", "attribute")
    ]
    strengths = np.linspace(-limit, limit, num_steps)
    return Arithmetic(
        names=tuple(names[column] for column in columns),
        directions=attribute_directions[columns],
        strengths=strengths,
        strips=_strips(run, examples, attribute_directions[columns], strengths, seed),
        effects=tuple(effects),
        most_changed=tuple(
            None if effect.most_changed is None else names[effect.most_changed]
            for effect in effects
        ),
    )


class _Measured:
    """Examples to measure effects on."""

    def __init__(
        self, run: TrainedRun, split: str, probes: probe.AttributeProbes
    ) -> None:
        examples = find_examples(run, split, _NUM_MEASURED)
        self._probes = probes
        self._conditions = examples.conditions
        self._z, _ = sampling.encode(run, examples)
        self._attributes = next(run.batches(split, _NUM_MEASURED))[FEATURE]
        self._see_again = tf.function(
            lambda z, conditions: run.vae.encode(
                run.vae.mean_image(z, conditions), conditions
            )[0],
            autograph=False,
        )
        self._before = self._seen_again(self._z)

    def step(self, column: int, direction: np.ndarray) -> Effect:
        """Returns the effect of a step along the direction of an attribute."""
        has = self._attributes[:, column] == 1
        sense = np.where(has, -1.0, 1.0)[:, np.newaxis]
        after = self._seen_again(self._z + sense * direction)
        return directions.measure(column, has, self._before, after)

    def _seen_again(self, z: np.ndarray) -> np.ndarray:
        """Returns attribute probabilities after latents are decoded and encoded."""
        mean = self._see_again(z.astype(np.float32), self._conditions)
        return self._probes.probabilities(mean.numpy())


def _columns(
    names: Sequence[str], directions: np.ndarray, chosen: Sequence[str] | None
) -> list[int]:
    has_direction = directions.any(axis=1)
    if chosen is None:
        return np.flatnonzero(has_direction).tolist()
    for name in chosen:
        if name not in names:
            raise ValueError(
                f"`attributes` has the unknown name {name}: give names from "
                f"{', '.join(names)}"
            )
        if not has_direction[names.index(name)]:
            raise ValueError(
                f"`attributes` has {name}, which all training examples have or no "
                "training example has: leave it out"
            )
    return [names.index(name) for name in chosen]


def _strips(
    run: TrainedRun,
    examples: Examples,
    directions: np.ndarray,
    strengths: np.ndarray,
    seed: int,
) -> np.ndarray:
    (start, *_), _ = sampling.encode(run, examples)
    added = strengths[:, np.newaxis] * directions[:, np.newaxis]
    z = (start + added).reshape(-1, len(start))
    decoded = sampling.decode(run, z, examples.conditions[:1], seed)
    return decoded.mean.reshape(*added.shape[:2], *decoded.mean.shape[1:])
