"""Conversion of a user's conditions to the condition vectors of a run."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.runs.trained import TrainedRun


def vectors(run: TrainedRun, condition: dict[str, npt.ArrayLike]) -> np.ndarray:
    """Returns the condition vectors of `m` values, `[m, num_conditions]` float32.

    Args:
        run: A trained run.
        condition: Values by the name of the model's condition: `label`, `[m]` classes,
            or `attributes`, `[m, k]` of 0 and 1.

    Raises:
        ValueError: If the model does not take the condition, or a value is not allowed.
    """
    name = str(run.conditioning.condition)
    needed = set() if name == "none" else {name}
    if run.conditioning.has_classifier and not condition:
        condition = {"label": [-1]}
    if condition.keys() != needed:
        given = ", ".join(condition) or "none"
        allowed = f"{name}=" if needed else "no condition"
        raise ValueError(f"this model takes {allowed}, but got {given}")
    if not needed:
        return np.zeros([1, 0], np.float32)
    values = np.asarray(condition[name])
    if not values.size:
        raise ValueError(f"{name} is empty: give one value, or one for each image")
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, not {values.dtype}")
    if name == "label":
        batch = {"label": values.reshape(-1)}
        run.conditioning.check_labels(batch)
    else:
        width = run.vae.num_conditions
        if values.shape[-1:] != (width,):
            raise ValueError(
                f"attributes must have the shape [n, {width}], not {list(values.shape)}"
            )
        batch = {"attributes": values.reshape(-1, width)}
        if not np.isin(values, (0, 1)).all():
            raise ValueError("attributes must be 0 or 1")
    tensors = {key: tf.constant(value) for key, value in batch.items()}
    return run.conditioning.vectors(tensors).numpy()


def repeated(conditions: np.ndarray, first: int, num: int) -> np.ndarray:
    """Returns the condition vectors of `num` images, from place `first` on."""
    if len(conditions) == 1:
        return np.repeat(conditions, num, axis=0)
    return conditions[first : first + num]


def check_num(conditions: np.ndarray | None, num: int) -> None:
    """Checks that there is one condition for all images, or one for each image.

    Raises:
        ValueError: If the number of conditions is neither 1 nor the number of images.
    """
    if conditions is not None and len(conditions) not in (1, num):
        raise ValueError(
            f"{len(conditions)} conditions do not fit {num} images: give one "
            "condition for each image"
        )
