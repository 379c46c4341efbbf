"""Cadence of a run: when it logs, evaluates, draws and keeps a checkpoint."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cadence:
    """Steps between events of a run, named as in its config.

    Attributes:
        num_train_steps: Last step; -1 for no limit.
        log_every_steps: Steps between lines of the log.
        eval_every_steps: Steps between evaluations.
        image_every_steps: Steps between pictures.
        keep_checkpoint_every_steps: Steps between checkpoints that retention never
            removes; 0 for none.
    """

    num_train_steps: int
    log_every_steps: int
    eval_every_steps: int
    image_every_steps: int
    keep_checkpoint_every_steps: int

    def is_logged(self, step: int) -> bool:
        """Returns True on every `log_every_steps`-th step and on the last one."""
        return self._is_multiple_or_last(step, self.log_every_steps)

    def is_evaluated(self, step: int) -> bool:
        """Returns True on every `eval_every_steps`-th step and on the last one."""
        return self._is_multiple_or_last(step, self.eval_every_steps)

    def is_pictured(self, step: int) -> bool:
        """Returns True on every `image_every_steps`-th step and on the last one."""
        return self._is_multiple_or_last(step, self.image_every_steps)

    def is_kept(self, step: int) -> bool:
        """Returns True on every `keep_checkpoint_every_steps`-th step."""
        every_steps = self.keep_checkpoint_every_steps
        return every_steps > 0 and step % every_steps == 0

    def steps_to_next(self, step: int) -> int:
        """Returns the number of steps until the next event."""
        distances = [
            every_steps - step % every_steps
            for every_steps in (
                self.log_every_steps,
                self.eval_every_steps,
                self.image_every_steps,
                self.keep_checkpoint_every_steps,
            )
            if every_steps
        ]
        if self.num_train_steps != -1:
            distances.append(self.num_train_steps - step)
        return min(distances)

    def _is_multiple_or_last(self, step: int, every_steps: int) -> bool:
        return step % every_steps == 0 or step == self.num_train_steps
