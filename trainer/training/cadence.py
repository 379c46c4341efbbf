"""At which steps a run logs, evaluates, draws, and keeps its checkpoint."""

from ml_collections import ConfigDict


def is_due(step: int, every_steps: int, config: ConfigDict) -> bool:
    """Returns whether what is done every so many steps is done; at the end, all is."""
    return step % every_steps == 0 or step == config.num_train_steps


def is_kept(step: int, config: ConfigDict) -> bool:
    """Returns whether the checkpoint of a step is to stay."""
    every_steps = config.keep_checkpoint_every_steps
    return every_steps > 0 and step % every_steps == 0


def steps_to_next(step: int, config: ConfigDict) -> int:
    """Returns how many steps may be made before something is due."""
    distances = [
        every_steps - step % every_steps
        for every_steps in (
            config.log_every_steps,
            config.eval_every_steps,
            config.image_every_steps,
            config.keep_checkpoint_every_steps,
        )
        if every_steps
    ]
    if config.num_train_steps != -1:
        distances.append(config.num_train_steps - step)
    return min(distances)
