"""The settings of a run, as TensorBoard's HParams page compares them."""

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
    return summary_v2.hparams_pb({**by_name(config), "dataset": dataset}, trial_id=name)


def by_name(config: ConfigDict) -> dict[str, bool | int | float | str]:
    """Returns the settings that the page compares, those in a group as `outer.inner`.

    Example:
        >>> layer = {"filters": (8, 16), "overrides": {}}
        >>> by_name(ConfigDict({"seed": 0, "log_every_steps": 5, "layer": layer}))
        {'layer.filters': '(8, 16)', 'seed': 0}
    """
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in settings.flatten(config).items()
        # A group that is left is empty.
        if name not in settings.CADENCE and not isinstance(value, ConfigDict)
    }
