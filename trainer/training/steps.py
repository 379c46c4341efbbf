"""The compiled steps: one update, and the evaluation of one batch.

batch -> examples -> terms [b] -> float64 sums -> gradients -> clipped -> Adam -> EMA
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from trainer.data.split_records import Batch
from trainer.numerics import exact
from trainer.optimization import losses
from trainer.optimization.objectives import Objective
from trainer.optimization.schedules import Schedule
from trainer.runs import settings
from trainer.runs.state import State
from trainer.training import forward
from trainer.training.forward import Forward
from trainer.training.gradients import Gradients

# Every eighth wait for a batch is timed, because reading the clock costs 0.1 ms.
_CLOCKED_EVERY = 8
# Odd multiplier of the linear congruential generator in Knuth's MMIX.
_LEDGER_FACTOR = 6364136223846793005


class Steps:
    """Compiled training and evaluation of one run.

    Attributes:
        term_names: Names of the values that `evaluate_batch` returns, in order.
        metric_names: Names of the values that `train` returns, in order.
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
        """Stores the parts of the run; traces nothing yet.

        Args:
            strategy: Strategy of the run; its scope holds the state.
            state: State of the run; `train` changes it.
            computation: Forward pass of the run.
            gradients: Gradients of the run.
            schedule: Learning rate by step.
            global_batch_size: Number of examples in a batch of all replicas.
            num_groups: Number of groups in a replica's share of the batch.
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
            strategy: Strategy of the run; its scope holds the state.
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
            batch_norm_warmup=config.batch_norm_warmup,
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

        A step that is not finite ends the call and changes nothing in the state. There
        is one exception: if only the gradient is not finite and the loss scale can
        still be lowered, the step is skipped. A skipped step consumes its records,
        counts as a step and lowers the loss scale. It leaves the weights, their
        average, the optimizer and the batch-norm statistics unchanged.

        Returns:
            Metrics of the last step, `[len(metric_names)]` float64, as means over the
            global batch, with the gradient norm before clipping; whether the run can
            continue; and the seconds that this host waited for batches, float64.
            The first wait of every eight is timed and stands for all eight. A wait
            lasts from the request of a batch until the batch is on all devices of the
            host; meanwhile a device may still apply the update of the previous step.
        """
        return self._train(batches, num_steps)

    def trace(self, batches: tf.distribute.DistributedIterator) -> None:
        """Traces `train`; its first call, even with zero steps, compiles the graph."""
        self._train.get_concrete_function(batches, tf.constant(0, tf.int64))

    # No AutoGraph: it writes a file to TMPDIR, which stays if the process is killed.
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
        """Returns a batch and the seconds waited for it; 0 seconds if not clocked."""

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
            # A smaller scale can make gradients finite, but never changes the loss.
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
        """Returns this replica's examples, and a hash of their records and places."""
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
        """Evaluates the EMA model on a global batch and returns weighted sums.

        Args:
            batch: Distributed batch with `image` and `weight`.
            index: Place of the batch in the split; the noise depends on it.

        Returns:
            Sums of the terms, `[number of terms]` float64, in the order of
            `term_names`; and sums per latent, `[3, latent_dim]` float64: KL divergence,
            posterior mean, and squared posterior mean.
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
        """Updates the EMA with decay min(ema_decay, (1 + n) / (10 + n)) at step n.

        The batch-norm statistics are averaged in the same way, to fit the weights.

        Source: the warm-up of `tf.train.ExponentialMovingAverage`.
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
        """Calls `function(variable, value)` for each pair on every replica."""
        for variable, value in zip(variables, values, strict=True):
            self._strategy.extended.update(
                variable.value, function, args=(value,), group=False
            )


def _clock() -> tf.Tensor:
    """Returns a monotonic clock in seconds; `tf.timestamp` is not deterministic."""
    with tf.device("CPU:0"):
        seconds = tf.numpy_function(
            lambda: np.float64(time.monotonic()), [], tf.float64
        )
    return tf.ensure_shape(seconds, [])
