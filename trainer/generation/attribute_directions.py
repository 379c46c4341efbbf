"""Attributes of faces as directions in latent space: strips of images, and a measure.

An attribute's direction is added to a latent, more and more of it, and the images show
what becomes of a face. How much of the attribute appears, and how much of others with
it, is measured on faces that are decoded, encoded again, and read by linear probes.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

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
    """Directions of attributes, and what they do.

    Attributes:
        names: Of the attributes, a of them.
        directions: `[a, latent_dim]`: the mean latent with an attribute less that
            without it.
        strengths: `[s]`: from `-limit` to `limit`.
        strips: `[a, s, h, w, c]` in [-1, 1]: an image with as many times the direction
            of an attribute added.
        effects: Of one step along each direction.
        most_changed: The other attribute that each step changes the most, or None.
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
    """Finds the directions in the training split, and tries them in another.

    Args:
        run: Of a dataset with attributes.
        examples: Whose first is shown in the strips.
        split: On whose first examples effects are measured.
        chosen: Attributes to try; None for all that some examples have and some not.
        limit: Strengths go from `-limit` to `limit` directions.
        num_steps: Of them.
        seed: Of what is decoded.
        latents_dir: See `encode_split`.

    Raises:
        ValueError: If the dataset has no attributes, or not those that are chosen.
    """
    if FEATURE not in run.manifest.features:
        raise ValueError(
            "--mode=attributes needs a dataset with attributes, as --source=celeba "
            f"makes: {run.dataset_dir} has {', '.join(run.manifest.features)}"
        )
    names = run.manifest.features[FEATURE].names
    trained_on = encode_split(run, run.config.train_split, latents_dir)
    attributes = trained_on.features[FEATURE]
    attribute_directions = directions.find(trained_on.posterior_mean, attributes)
    columns = _columns(names, attribute_directions, chosen)
    probes = probe.AttributeProbes(trained_on.posterior_mean, attributes)
    measured = _Measured(run, split, probes)
    effects = [
        measured.step(column, attribute_directions[column]) for column in columns
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
    """The examples on which effects are measured."""

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
        """Returns what a step along the direction of an attribute changes."""
        has = self._attributes[:, column] == 1
        sense = np.where(has, -1.0, 1.0)[:, np.newaxis]
        after = self._seen_again(self._z + sense * direction)
        return directions.measure(column, has, self._before, after)

    def _seen_again(self, z: np.ndarray) -> np.ndarray:
        """Returns what the probes say of images that latents are decoded to."""
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
            raise ValueError(f"--attributes has {name}: there are {', '.join(names)}")
        if not has_direction[names.index(name)]:
            raise ValueError(
                f"--attributes has {name}, which all training examples have or none"
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
