"""Directions of attributes in latent space, and the effects of a step along them.

n  examples        d  latents        a  attributes
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Effect:
    """Effect of a step along an attribute's direction, by linear probes.

    A change is a difference in the probability of an attribute, signed along the
    direction. An example with the stepped attribute moves against the direction, so the
    sign of its changes is reversed.

    Attributes:
        change: Mean change of the stepped attribute over examples, from -1 to 1.
        leakage: Mean absolute value of the other attributes' mean changes, from 0 to 1;
            0 if no other attribute has a probe.
        most_changed: Column of the other attribute that changes most; None if no
            other attribute has a probe.
        most_change: Mean change of the attribute `most_changed`, from -1 to 1.
    """

    change: float
    leakage: float
    most_changed: int | None
    most_change: float


def find(latents: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """Returns the difference of the mean latents with an attribute and without it.

    Args:
        latents: `[n, d]`, posterior means.
        attributes: `[n, a]`, 0 or 1.

    Returns:
        `[a, d]`; 0 for an attribute that all examples have or all examples lack.

    Raises:
        ValueError: If shapes do not match.

    Source:
        White, "Sampling Generative Networks" (2016), section 2.4.

    Example:
        >>> latents = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
        >>> find(latents, np.array([[1], [1], [0]])).tolist()
        [[2.0, -5.0]]
    """
    if latents.ndim != 2 or attributes.ndim != 2 or len(latents) != len(attributes):
        raise ValueError(
            f"latents {latents.shape} and attributes {attributes.shape} do not match"
        )
    has = (attributes == 1).astype(np.float64)
    num_with = has.sum(axis=0)[:, np.newaxis]
    num_without = len(has) - num_with
    is_mixed = (num_with > 0) & (num_without > 0)
    mean_with = has.T @ latents / np.maximum(num_with, 1)
    mean_without = (1 - has).T @ latents / np.maximum(num_without, 1)
    return np.where(is_mixed, mean_with - mean_without, 0.0)


def measure(
    target: int, has_target: np.ndarray, before: np.ndarray, after: np.ndarray
) -> Effect:
    """Returns the effect of a step along the direction of an attribute.

    Args:
        target: Column of the attribute.
        has_target: `[n]`, whether an example had the attribute, and so was moved away
            from it.
        before: `[n, a]`, probability of each attribute by its probe before the step.
            NaN marks an attribute that cannot be probed; it is left out.
        after: `[n, a]`, the same after the step.

    Raises:
        ValueError: If the target attribute cannot be probed.

    Example:
        >>> before, after = np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]])
        >>> measure(0, np.array([False]), before, after)
        Effect(change=0.25, leakage=0.25, most_changed=1, most_change=-0.25)
    """
    sense = np.where(has_target, -1.0, 1.0)[:, np.newaxis]
    means = np.mean(sense * (after - before), axis=0)
    changes = {
        column: float(mean) for column, mean in enumerate(means) if not np.isnan(mean)
    }
    if target not in changes:
        raise ValueError(f"attribute {target} has no probe")
    change = changes.pop(target)
    if not changes:
        return Effect(change, 0.0, None, 0.0)
    most = max(changes, key=lambda column: abs(changes[column]))
    leakage = float(np.mean(np.abs(list(changes.values()))))
    return Effect(change, leakage, most, changes[most])
