"""The compiled steps: what one update and one evaluation compute.

batch -> examples -> terms [b] -> float64 sums -> gradients -> clipped -> Adam -> EMA
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from trainer.data.input_pipeline import Batch
from trainer.numerics import exact
from trainer.optimization import losses
from trainer.optimization.objectives import Objective
from trainer.optimization.schedules import Schedule
from trainer.runs import settings
from trainer.runs.state import State
from trainer.training import forward
from trainer.training.forward import Forward
from trainer.training.gradients import Gradients

# The wait for one batch in so many is taken by the clock, which costs 0.1 ms a look.
_CLOCKED_EVERY = 8
# Odd, from the linear congruential generator of Knuth's MMIX.
_LEDGER_FACTOR = 6364136223846793005


class Steps:
    """Compiled training and evaluation of one run.

    Attributes:
        term_names: Of the values that `evaluate_batch` returns, in order.
        metric_names: Of the values that `train` returns, in order.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        state: State,
        computation: Forward,
        gradients: Gradients,
        schedule: Schedule,
        *,
        global_batch_size: int,
        num_groups: int,
        ema_decay: float,
    ) -> None:
        """Binds the steps to their run; nothing is traced yet.

        Args:
            strategy: Strategy in whose scope the state was made.
            state: State of the run, which `train` changes.
            computation: Forward pass of the run.
            gradients: Gradients of the run.
            schedule: Learning rate by step.
            global_batch_size: Examples in a batch of all replicas.
            num_groups: Groups of a replica's share of the batch.
            ema_decay: Largest decay of the moving average of the weights, in [0, 1).
        """
        self._strategy, self._state = strategy, state
        self._forward, self._gradients = computation, gradients
        self._schedule = schedule
        self._global_batch_size, self._num_groups = global_batch_size, num_groups
        self._ema_decay = ema_decay
        self.term_names = self._forward.term_names
        self.metric_names = [*self.term_names, "gradient_norm"]
        if state.loss_scale is not None:
            self.metric_names.append("loss_scale")

    @classmethod
    def of_run(
        cls,
        strategy: tf.distribute.Strategy,
        state: State,
        objective: Objective,
        config: ConfigDict,
        image_shape: Sequence[int],
    ) -> Self:
        """Returns the compiled steps of a run.

        Args:
            strategy: Strategy in whose scope the state was made.
            state: State of the run.
            objective: Loss and its terms.
            config: Resolved settings.
            image_shape: `[height, width, channels]`.
        """
        computation = forward.make_forward(objective, state.vae, image_shape, config)
        num_groups = config.num_batch_groups // strategy.num_replicas_in_sync
        divisors = {"mean": config.global_batch_size, "sum": 1}
        gradients = Gradients(
            strategy,
            state,
            computation,
            num_groups=num_groups,
            num_slices=config.gradient_accumulation_steps,
            loss_divisor=divisors[config.loss_reduction],
            clip_norm=config.gradient_clip_norm,
        )
        return cls(
            strategy,
            state,
            computation,
            gradients,
            settings.select(config, Schedule),
            global_batch_size=config.global_batch_size,
            num_groups=num_groups,
            ema_decay=config.ema_decay,
        )

    def train(
        self, batches: tf.distribute.DistributedIterator, num_steps: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Makes `num_steps` steps, or fewer if a loss or gradient is not finite.

        Such a step changes nothing in the state. With a loss scale that can still be
        lowered, a gradient that is not finite does not end it: this step is skipped,
        which is to say that it takes its records and its place, and lowers the scale,
        and leaves the weights, their average, the optimizer and the batch-norm
        statistics as they were.

        Returns:
            The last step's metrics, `[len(metric_names)]` float64, each a mean over
            the global batch (the gradient norm is that before clipping); whether the
            run can go on; and the seconds that this host waited for its batches,
            float64, as the first of every eight say: by the clock from asking for one
            to having it on all its devices. A device that still moves the weights of
            the step before does so meanwhile.
        """
        return self._train(batches, num_steps)

    def trace(self, batches: tf.distribute.DistributedIterator) -> None:
        """Traces `train`, whose first call, be it of no step, compiles the graph."""
        self._train.get_concrete_function(batches, tf.constant(0, tf.int64))

    # AutoGraph would write a file to TMPDIR, which stays when the process is ended.
    @tf.function(autograph=False)
    def _train(
        self, batches: tf.distribute.DistributedIterator, num_steps: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def is_next(can_go_on: tf.Tensor, _: Any, __: Any, num_done: tf.Tensor) -> Any:
            return can_go_on & (num_done < num_steps)

        def step(_: Any, __: Any, wait_secs: tf.Tensor, num_done: tf.Tensor) -> Any:
            batch, secs = self._next(batches, num_done % _CLOCKED_EVERY == 0)
            values, can_go_on = self._update(batch)
            wait_secs += secs * tf.cast(
                tf.minimum(num_steps - num_done, _CLOCKED_EVERY), tf.float64
            )
            return can_go_on, values, wait_secs, num_done + 1

        values = tf.zeros([len(self.metric_names)], tf.float64)
        secs, num_done = tf.constant(0.0, tf.float64), tf.constant(0, tf.int64)
        can_go_on, values, wait_secs, _ = tf.while_loop(
            is_next, step, (tf.constant(True), values, secs, num_done)
        )
        return values, can_go_on, wait_secs

    def _next(
        self, batches: tf.distribute.DistributedIterator, is_clocked: tf.Tensor
    ) -> tuple[Any, tf.Tensor]:
        """Returns a batch, and the seconds that it took to come; 0 if not clocked."""

        def clock_or_zero() -> tf.Tensor:
            return tf.cond(is_clocked, _clock, lambda: tf.constant(0.0, tf.float64))

        asked_at = clock_or_zero()
        with tf.control_dependencies([asked_at]):
            batch = next(batches)
        local = self._strategy.experimental_local_results(batch)
        with tf.control_dependencies(tf.nest.flatten(local)):
            return batch, clock_or_zero() - asked_at

    def _update(self, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        state, strategy = self._state, self._strategy
        statistics = state.vae.batch_norm_statistics
        statistics_before = [tf.identity(variable.value) for variable in statistics]
        examples, fingerprint = strategy.run(self._examples, (batch,))
        fingerprint = self._sum_over_replicas(fingerprint)
        sums, gradients = self._gradients.compute(examples)
        means = self._sum_over_replicas(sums) / self._global_batch_size
        norm = self._gradients.global_norm(gradients)
        metrics = [means, [norm]]
        is_finite_loss = tf.reduce_all(tf.math.is_finite(means))
        is_good = can_go_on = is_finite_loss & tf.math.is_finite(norm)
        if state.loss_scale is not None:
            metrics.append([state.loss_scale.scale])
            # A smaller scale mends gradients, and changes no loss.
            can_go_on = is_good | (is_finite_loss & state.loss_scale.can_shrink())
        metrics = tf.concat(metrics, axis=0)

        def apply() -> None:
            state.optimizer.learning_rate = self._schedule.rate(state.step)
            state.optimizer.apply(
                self._gradients.clip_and_unscale(gradients, norm),
                state.vae.trainable_variables,
            )
            self._average_weights()

        def undo() -> None:
            self._assign_each(statistics, statistics_before)

        def count() -> None:
            state.ledger.assign(state.ledger * _LEDGER_FACTOR + fingerprint)
            state.step.assign_add(1)
            if state.loss_scale is not None:
                state.loss_scale.update(is_good)

        tf.cond(is_good, apply, undo)
        tf.cond(can_go_on, count, lambda: None)
        return metrics, can_go_on

    def _examples(self, batch: Batch) -> tuple[Batch, tf.Tensor]:
        """In a replica: its examples, and a hash of the records and their places."""
        first, end = forward.share(self._global_batch_size)
        places = 2 * tf.range(first, end, dtype=tf.int64) + 1
        fingerprint = tf.reduce_sum(batch["record_id"] * places)
        examples = self._forward.examples(
            batch, forward.TRAIN_STREAMS, self._state.step
        )
        return examples, fingerprint

    @tf.function(autograph=False)
    def evaluate_batch(
        self, batch: Any, index: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns sums over a global batch, of the EMA model.

        Args:
            batch: A distributed batch with `image` and `weight`.
            index: Of the batch in the split; the noise depends on it.

        Returns:
            Of the terms, `[number of terms]` float64, in the order of `term_names`;
            and of the latents `[3, latent_dim]` float64: the KL divergence, the
            posterior's mean, and its square.
        """

        def sums(batch: Batch, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            weight = batch["weight"]
            with exact.scope(self._num_groups):
                examples = self._forward.examples(batch, forward.EVAL_STREAMS, index)
                terms, (mean, log_var) = self._forward.terms_and_posterior(
                    self._state.ema_vae, examples, self._state.step, training=False
                )
            kl = tf.cast(losses.gaussian_kl_per_latent(mean, log_var), tf.float64)
            mean = tf.cast(mean, tf.float64)
            weights = tf.cast(weight, tf.float64)[:, tf.newaxis]
            of_latents = tf.stack(
                [kl * weights, mean * weights, tf.square(mean) * weights]
            )
            return (
                forward.float64_sums([term * weight for term in terms]),
                tf.reduce_sum(of_latents, axis=1),
            )

        of_terms, of_latents = self._strategy.run(sums, (batch, index))
        return self._sum_over_replicas(of_terms), self._sum_over_replicas(of_latents)

    def _sum_over_replicas(self, values: Any) -> tf.Tensor:
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    def _average_weights(self) -> None:
        """Moves the EMA: decay min(ema_decay, (1 + n) / (10 + n)) at step n.

        Source: the warm-up of `tf.train.ExponentialMovingAverage`. The batch-norm
        statistics are averaged alike, so that they fit the weights.
        """
        num_updates = tf.cast(self._state.step, tf.float32)
        decay = tf.minimum(self._ema_decay, (1 + num_updates) / (10 + num_updates))

        def move(average: tf.Variable, value: tf.Tensor) -> None:
            average.assign(decay * average + (1 - decay) * value)

        self._update_each(
            move,
            self._state.ema_vae.variables,
            [variable.value for variable in self._state.vae.variables],
        )

    def _assign_each(
        self, variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]
    ) -> None:
        self._update_each(lambda var, value: var.assign(value), variables, values)

    def _update_each(
        self,
        function: Callable[[tf.Variable, tf.Tensor], Any],
        variables: Sequence[keras.Variable],
        values: Sequence[Any],
    ) -> None:
        """On every replica, calls `function(variable, value)` for each pair."""
        for variable, value in zip(variables, values, strict=True):
            self._strategy.extended.update(
                variable.value, function, args=(value,), group=False
            )


def _clock() -> tf.Tensor:
    """Returns seconds since some time, float64; `tf.timestamp` is not deterministic."""
    with tf.device("CPU:0"):
        seconds = tf.numpy_function(
            lambda: np.float64(time.monotonic()), [], tf.float64
        )
    return tf.ensure_shape(seconds, [])
