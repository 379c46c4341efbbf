"""Settings by name: resolved for the devices, and compared on a resume."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from trainer.runs import setting_checks

# Settings that may change on a resume, because they do not affect how a run learns.
# Most decide how it reports, saves and stops.
CADENCE = frozenset(
    {
        "num_train_steps",
        "log_every_steps",
        "image_every_steps",
        "eval_every_steps",
        "eval_line",
        "num_picture_pairs",
        "reconstruction_draw",
        "num_picture_samples",
        "num_picture_traversals",
        "show_latents",
        "show_neighbours",
        "show_strip",
        "checkpoint_every_secs",
        "keep_checkpoints",
        "keep_best_checkpoints",
        "keep_checkpoint_every_steps",
        "gpu_memory_fraction",
        "reader",
    }
)

# Values by which the oldest runs trained, for settings that their config.json lacks.
# Their checkpoints have no digest of the settings. The list is complete: a new setting
# belongs in `_ADDED`.
_EARLIER = {
    "classifier_weight": 0.1,
    "condition": "none",
    "decoder_start": "deconv",
    "gradient_accumulation_steps": 1,
    "gradient_clip_norm": 0.0,
    "keep_best_checkpoints": 0,
    "keep_checkpoint_every_steps": 0,
    "labelled_fraction": 1.0,
    "learning_rate_decay_steps": 0,
    "learning_rate_factors": [],
    "learning_rate_final_factor": 0.0,
    "learning_rate_schedule": "constant",
    "learning_rate_steps": [],
    "learning_rate_warmup_steps": 0,
    "loss_scale_growth_steps": 2000,
    "num_classes": 10,
    "num_picture_traversals": 5,
    "precision": "float32",
    "show_neighbours": True,
}
# The same for later runs. The digest of a run leaves a setting out while it has the
# value given here.
_ADDED = {
    "batch_norm_warmup": False,
    "reader": "records",
    "classifier_filters": [],
    "classifier_units": [],
}
# Defaults that older runs did not have. A resumed run keeps its own values instead.
NEW_DEFAULTS = {"batch_norm_warmup": True, "shuffle_block_size": 0}

T = TypeVar("T")


def select(config: ConfigDict, kind: type[T]) -> T:
    """Returns the settings that `kind` has as fields, as an instance of `kind`.

    Args:
        config: Resolved settings.
        kind: Dataclass whose fields are named after settings.
    """
    assert dataclasses.is_dataclass(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: config[name] for name in names})


def flatten(
    group: ConfigDict | Mapping[str, Any], separator: str = ".", prefix: str = ""
) -> dict[str, Any]:
    """Returns the values of nested groups by dotted name, as `outer.inner`.

    An empty group counts as a value.

    Args:
        group: Settings or scores by name; a value may be a group itself.
        separator: Text between the name of a group and the names in the group.
        prefix: Text before each name.

    Example:
        >>> flatten({"seed": 0, "layer": {"filters": [8]}, "overrides": {}})
        {'seed': 0, 'layer.filters': [8], 'overrides': {}}
    """
    flat = {}
    for name, value in group.items():
        if isinstance(value, ConfigDict | dict) and value:
            flat |= flatten(value, separator, f"{prefix}{name}{separator}")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def resolve(config: ConfigDict, num_replicas: int) -> ConfigDict:
    """Checks `config` and returns a copy with batch size, groups and decay filled in.

    Args:
        config: Settings as the user gave them. The copy fills in settings that are 0:
            `global_batch_size` is `per_replica_batch_size` times the number of
            replicas, `num_batch_groups` comes from `default_num_groups`, and
            `learning_rate_decay_steps` from `setting_checks.decay_steps`.
        num_replicas: Number of devices that the run computes on.

    Raises:
        ValueError: If `setting_checks.check` or `settle_batch` finds a mistake.
    """
    config = completed(config)
    setting_checks.check(config)
    resolved = settle_batch(config, num_replicas)
    resolved.learning_rate_decay_steps = setting_checks.decay_steps(config)
    return resolved


def settle_batch(config: ConfigDict, num_replicas: int) -> ConfigDict:
    """Returns a copy of `config` with batch size and number of groups filled in.

    Raises:
        ValueError: If the batch cannot be cut into equal groups, or the replicas cannot
            share the groups equally.
    """
    if config.gradient_accumulation_steps < 1:
        raise ValueError(
            "config.gradient_accumulation_steps="
            f"{config.gradient_accumulation_steps} must be at least 1"
        )
    resolved = config.copy_and_resolve_references()
    if not config.global_batch_size:
        resolved.global_batch_size = config.per_replica_batch_size * num_replicas
    if resolved.global_batch_size < 1:
        raise ValueError(
            f"the global batch has {resolved.global_batch_size} examples: set "
            "`config.global_batch_size` or `config.per_replica_batch_size` to at "
            "least 1"
        )
    if not config.num_batch_groups:
        resolved.num_batch_groups = default_num_groups(
            resolved.global_batch_size, num_replicas, config.gradient_accumulation_steps
        )
    _check_groups(resolved, num_replicas)
    return resolved


def default_num_groups(
    global_batch_size: int, num_replicas: int, num_slices: int = 1
) -> int:
    """Returns a number of groups that suits the batch size and the replicas.

    The number is 4 if possible, because 1, 2 and 4 replicas then compute the same bits.

    Args:
        global_batch_size: Number of examples per step.
        num_replicas: Number of replicas that share the examples.
        num_slices: Number of slices in each replica's share of the batch.

    Raises:
        ValueError: If the replicas cannot share the batch equally, in equal slices.

    Example:
        >>> [default_num_groups(64 * n, n) for n in (1, 2, 3, 4, 8)]
        [4, 4, 12, 4, 8]
    """
    num_parts = num_replicas * num_slices
    if global_batch_size % num_parts:
        slices = f" in {num_slices} slices each (`config.gradient_accumulation_steps`)"
        raise ValueError(
            f"a global batch of {global_batch_size} examples cannot be shared equally "
            f"by {num_replicas} replicas{slices if num_slices > 1 else ''}: set "
            f"`config.global_batch_size` to a multiple of {num_parts}"
        )
    candidates = [math.lcm(base, num_parts) for base in (4, 2, 1)]
    return next(groups for groups in candidates if global_batch_size % groups == 0)


def _check_groups(config: ConfigDict, num_replicas: int) -> None:
    batch_size, num_groups = config.global_batch_size, config.num_batch_groups
    if num_groups < 0:
        raise ValueError(
            f"config.num_batch_groups={num_groups} must be positive, or 0 to choose "
            "a number that suits the replicas"
        )
    if num_groups % num_replicas:
        raise ValueError(
            f"{num_replicas} replicas cannot share config.num_batch_groups="
            f"{num_groups} equally: set it to a multiple of {num_replicas} (a run has "
            "the same losses on every number of devices that divides it)"
        )
    num_slices = config.gradient_accumulation_steps
    if num_groups // num_replicas % num_slices:
        raise ValueError(
            f"the {num_groups // num_replicas} groups of a replica "
            f"(config.num_batch_groups={num_groups}) cannot be shared equally by "
            f"config.gradient_accumulation_steps={num_slices}: set "
            "`config.num_batch_groups` to a multiple of "
            f"{num_replicas * num_slices}"
        )
    if batch_size % num_groups:
        raise ValueError(
            f"a global batch of {batch_size} examples cannot be cut into "
            f"config.num_batch_groups={num_groups} equal groups: choose a "
            f"`config.global_batch_size` that {num_groups} divides, or another number "
            "of groups"
        )


def complete(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a run, with the settings that older runs lack."""
    return {**_EARLIER, **_ADDED, **saved}


def completed(config: ConfigDict) -> ConfigDict:
    """Returns a copy of `config`, with the settings that older config files lack.

    Example:
        >>> completed(ConfigDict({"precision": "mixed_bfloat16"})).reader
        'records'
    """
    copy = config.copy_and_resolve_references()
    with copy.unlocked():
        copy.update(complete(copy))
    return copy


def decisive(config: ConfigDict) -> dict[str, Any]:
    """Returns the settings, as JSON values, that a resumed run must not change.

    A setting that older runs lack is left out while it has their value.
    """
    values = json.loads(config.to_json())
    return {
        name: value
        for name, value in values.items()
        if name not in CADENCE and not (name in _ADDED and value == _ADDED[name])
    }


def resumed(config: ConfigDict, saved: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of `config`, with a run's own values in place of newer defaults.

    Args:
        config: Resolved settings.
        saved: Settings in the config.json of the run that resumes.

    Raises:
        ValueError: If a value of the run is out of range or has another type.

    Example:
        >>> config = {"batch_norm_warmup": True, "shuffle_block_size": 0}
        >>> resumed(ConfigDict(config), {"shuffle_block_size": 32}).to_dict()
        {'batch_norm_warmup': False, 'shuffle_block_size': 32}
    """
    copy = config.copy_and_resolve_references()
    before = complete(saved)
    for name, default in NEW_DEFAULTS.items():
        if copy[name] == default and name in before:
            if type(before[name]) is not type(default) or before[name] < 0:
                raise ValueError(f"{name} is {before[name]!r}")
            copy[name] = before[name]
    return copy


def differences(saved: dict, current: dict) -> list[str]:
    """Returns a line with both values for each setting that differs but must not."""
    saved = complete(saved)
    names = sorted((saved.keys() | current.keys()) - CADENCE)
    return [
        f"`config.{name}` was {saved.get(name)!r} and is now {current.get(name)!r}"
        for name in names
        if saved.get(name) != current.get(name)
    ]
