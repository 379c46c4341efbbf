"""The settings of a run, as TensorBoard's HParams page compares them."""

from typing import Any

from ml_collections import ConfigDict
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2

from trainer.runs import settings


def summarise(config: ConfigDict, name: str, dataset: str) -> Summary:
    """Returns what says that a directory of events is a run with these settings.

    What stands beside them are the newest scalars of that directory. Settings that only
    say when to look and when to stop are left out.

    Args:
        config: Resolved settings.
        name: Of the run.
        dataset: What it was trained on, which is compared like a setting.
    """
    return summary_v2.hparams_pb({**flatten(config), "dataset": dataset}, trial_id=name)


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the settings by name, those in a setting as `outer.inner`.

    Each is a number, a bool, or a text.

    Example:
        >>> flatten(ConfigDict({"seed": 0, "layer": {"filters": (8, 16)}}))
        {'layer.filters': '(8, 16)', 'seed': 0}
    """
    flat = {}
    for name, value in config.items():
        if name in settings.CADENCE:
            continue
        if isinstance(value, ConfigDict):
            inner = flatten(value).items()
            flat |= {f"{name}.{key}": each for key, each in inner}
        else:
            is_plain = isinstance(value, bool | int | float | str)
            flat[name] = value if is_plain else str(value)
    return flat
