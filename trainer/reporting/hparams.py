"""Settings of a run, in the format that TensorBoard's HParams page compares."""

from ml_collections import ConfigDict
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2

from trainer.runs import settings


def summarise(config: ConfigDict, dataset: str) -> Summary:
    """Returns the summary that lets the HParams page list a directory of events.

    The page shows the newest scalars of the directory beside the settings. Its trial
    has the directory's name, as in Scalars. Cadence settings are left out: they only
    say when to measure and when to stop.

    Args:
        config: Resolved settings.
        dataset: Name of the training dataset, which is compared like a setting.
    """
    # TensorBoard names a trial without an id after its directory. Two runs whose
    # directories have the same last name would otherwise become one trial.
    return summary_v2.hparams_pb({**by_name(config), "dataset": dataset}, trial_id="")


def by_name(config: ConfigDict) -> dict[str, bool | int | float | str]:
    """Returns the settings that the page compares, with groups as `outer.inner`.

    Example:
        >>> layer = {"filters": (8, 16), "overrides": {}}
        >>> by_name(ConfigDict({"seed": 0, "log_every_steps": 5, "layer": layer}))
        {'layer.filters': '(8, 16)', 'seed': 0}
    """
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in settings.flatten(config).items()
        # `flatten` leaves a group in place only if it is empty.
        if name not in settings.CADENCE and not isinstance(value, ConfigDict)
    }
