"""The compiled steps: what one update and one evaluation compute.

batch -> targets, inputs -> posterior -> z -> outputs -> terms [b] -> float64 sums
      -> gradients, summed over groups and replicas in float64 -> Adam -> EMA
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from trainer import conditions, corruption, exact, order, semi_supervised
from trainer.input_pipeline import Batch
from trainer.models.vae import VAE, draw_posterior
from trainer.objectives import Objective, Posterior
from trainer.state import State

# First word of every random seed, so that no two uses share a stream: a step's own,
# then that of binarisation and two of corruption.
_TRAIN_STREAMS, _EVAL_STREAMS = (3, 6, 7, 8), (5, 9, 10, 11)
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
        objective: Objective,
        config: ConfigDict,
        image_shape: Sequence[int],
    ) -> None:
        """Binds the steps to their run; nothing is traced yet.

        Args:
            strategy: Whose scope the state was made in.
            state: Changed by `train`.
            objective: What to minimise.
            config: Resolved settings.
            image_shape: `[height, width, channels]`.
        """
        self._strategy = strategy
        self._state = state
        self._objective = objective
        self._config = config
        self._num_local_groups = (
            config.num_batch_groups // strategy.num_replicas_in_sync
        )
        # The gradient of a sum over the batch, or of a mean.
        self._loss_divisor = {"mean": config.global_batch_size, "sum": 1}[
            config.loss_reduction
        ]
        latents = tf.zeros([1, config.latent_dim])
        draws = tf.zeros([objective.num_samples, config.latent_dim])
        terms = objective.terms(
            tf.zeros([1, *image_shape]),
            tf.zeros([objective.num_samples, *state.vae.decoder.output_shape[1:]]),
            Posterior(latents, latents, draws),
            tf.constant(0, tf.int64),
        )
        if state.vae.classifier is not None:
            terms |= dict.fromkeys(semi_supervised.TERMS)
        self.term_names = sorted(terms)
        self.metric_names = [*self.term_names, "gradient_norm"]

    @tf.function
    def train(
        self, batches: tf.distribute.DistributedIterator, num_steps: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes `num_steps` updates, or fewer if a loss or gradient is not finite.

        Such a step changes nothing in the state.

        Returns:
            The last step's metrics, `[len(metric_names)]` float64, each a mean over
            the global batch; and whether they and the gradient were finite.
        """
        values = tf.zeros([len(self.metric_names)], tf.float64)
        is_finite = tf.constant(True)
        num_done = tf.constant(0, tf.int64)
        while is_finite and num_done < num_steps:
            values, is_finite = self._update(batches)
            num_done += 1
        return values, is_finite

    @tf.autograph.experimental.do_not_convert
    def _update(
        self, batches: tf.distribute.DistributedIterator
    ) -> tuple[tf.Tensor, tf.Tensor]:
        state, strategy = self._state, self._strategy
        statistics = state.vae.batch_norm_statistics
        statistics_before = [tf.identity(variable.value) for variable in statistics]
        variables = [variable.value for variable in state.vae.trainable_variables]
        sums, fingerprint, gradients = strategy.run(self._gradients, (next(batches),))
        gradients = strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, list(zip(gradients, variables, strict=True))
        )
        means = (
            strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)
            / self._config.global_batch_size
        )
        fingerprint = strategy.reduce(
            tf.distribute.ReduceOp.SUM, fingerprint, axis=None
        )
        half_squares = [
            tf.nn.l2_loss(strategy.experimental_local_results(gradient)[0])
            for gradient in gradients
        ]
        norm = tf.sqrt(2 * tf.add_n(half_squares))
        is_finite = tf.reduce_all(tf.math.is_finite(means)) & tf.math.is_finite(norm)

        def apply() -> tf.Tensor:
            state.optimizer.apply(gradients, state.vae.trainable_variables)
            self._average_weights()
            state.ledger.assign(state.ledger * _LEDGER_FACTOR + fingerprint)
            state.step.assign_add(1)
            return tf.constant(True)

        def undo() -> tf.Tensor:
            self._assign_each(statistics, statistics_before)
            return tf.constant(False)

        return tf.concat([means, [norm]], axis=0), tf.cond(is_finite, apply, undo)

    def _gradients(
        self, batch: Batch
    ) -> tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]]:
        """In a replica: sums of terms, hash of the records, float64 gradients."""
        vae, step = self._state.vae, self._state.step
        with exact.scope(self._num_local_groups, vae.trainable_variables) as weights:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                terms = self._terms(vae, batch, _TRAIN_STREAMS, step, training=True)
                sums = _float64_sums(terms)
                loss = sums[self.term_names.index("loss")] / self._loss_divisor
            gradients = tape.gradient(loss, weights)
        places = 2 * tf.range(*self._share(), dtype=tf.int64) + 1
        return sums, tf.reduce_sum(batch["record_id"] * places), gradients

    @tf.function
    def evaluate_batch(self, batch: Any, index: tf.Tensor) -> tf.Tensor:
        """Returns the sums of the EMA model's terms over a global batch.

        Args:
            batch: A distributed batch with `image` and `weight`.
            index: Of the batch in the split; the noise depends on it.

        Returns:
            `[number of terms]` float64, in the order of `term_names`.
        """

        def sums(batch: Batch, index: tf.Tensor) -> tf.Tensor:
            with exact.scope(self._num_local_groups):
                terms = self._terms(
                    self._state.ema_vae,
                    batch,
                    _EVAL_STREAMS,
                    index,
                    training=False,
                )
            return _float64_sums([term * batch["weight"] for term in terms])

        return self._strategy.reduce(
            tf.distribute.ReduceOp.SUM,
            self._strategy.run(sums, (batch, index)),
            axis=None,
        )

    def _terms(
        self,
        vae: VAE,
        batch: Batch,
        streams: Sequence[int],
        index: tf.Tensor,
        *,
        training: bool,
    ) -> list[tf.Tensor]:
        """Returns the objective's terms, `[b]` each, in the order of `term_names`."""
        draw_stream, *image_streams = streams
        shape = batch["image"].shape[1:].as_list()
        targets, inputs = corruption.targets_and_inputs(
            batch["image"],
            self._config,
            lambda distribution, stream: self._draw(
                distribution, shape, image_streams[stream], index
            ),
        )
        num_classes = 1 if vae.classifier is None else self._config.num_classes
        noise = self._draw(
            tf.random.stateless_normal,
            [num_classes * self._objective.num_samples, self._config.latent_dim],
            draw_stream,
            index,
        )
        noise = tf.reshape(noise, [-1, self._config.latent_dim])
        if vae.classifier is None:
            told = conditions.of_batch(batch, self._config)
            terms = self._terms_given(vae, targets, inputs, told, noise, training)
        else:
            many_targets, told = semi_supervised.with_every_class(targets, num_classes)
            many_inputs = tf.repeat(inputs, num_classes, axis=0)
            terms = semi_supervised.marginalise(
                self._terms_given(
                    vae, many_targets, many_inputs, told, noise, training
                ),
                vae.classifier(inputs, training=training),
                batch["label"],
                # What is evaluated is how well the class is found.
                training & semi_supervised.is_labelled(batch, self._config),
                self._config.classifier_weight / self._config.labelled_fraction,
            )
        return [terms[name] for name in self.term_names]

    def _terms_given(
        self,
        vae: VAE,
        targets: tf.Tensor,
        inputs: tf.Tensor,
        told: tf.Tensor,
        noise: tf.Tensor,
        training: bool,
    ) -> dict[str, tf.Tensor]:
        """Returns the objective's terms of images with their conditions, `[n]` each.

        Args:
            vae: The model.
            targets: `[n, h, w, c]`, as many for each example of the batch.
            inputs: `[n, h, w, c]`.
            told: `[n, num_conditions]`.
            noise: `[n * num_samples, latent_dim]` standard normal.
            training: Whether batch norm takes the batch's statistics.
        """
        mean, log_var = vae.encode(inputs, told, training=training)
        k = self._objective.num_samples
        repeated = [mean, log_var]
        if k > 1:
            repeated = [tf.repeat(tensor, k, axis=0) for tensor in repeated]
        z = draw_posterior(*repeated, noise)
        many_told = told if k == 1 else tf.repeat(told, k, axis=0)
        outputs = vae.decode(z, many_told, training=training)
        if training:
            many = targets if k == 1 else tf.repeat(targets, k, axis=0)
            outputs = vae.likelihood.fit(many, outputs, vae.decoder)
        posterior = Posterior(mean, log_var, z)
        return self._objective.terms(targets, outputs, posterior, self._state.step)

    def _share(self) -> tuple[int, int]:
        """First and last (exclusive) place of this replica in the global batch."""
        context = tf.distribute.get_replica_context()
        size = self._config.global_batch_size // context.num_replicas_in_sync
        first = context.replica_id_in_sync_group * size
        return first, first + size

    def _draw(
        self,
        distribution: Callable[..., tf.Tensor],
        shape: Sequence[int],
        stream: int,
        index: tf.Tensor,
    ) -> tf.Tensor:
        """Returns this replica's slice of one draw over the global batch."""
        draw = distribution(
            [self._config.global_batch_size, *shape],
            order.fold(self._config.seed, stream, index),
            alg="philox",
        )
        first, end = self._share()
        return draw[first:end]

    def _average_weights(self) -> None:
        """Moves the EMA: decay min(ema_decay, (1 + n) / (10 + n)) at step n.

        Source: the warm-up of `tf.train.ExponentialMovingAverage`. The batch-norm
        statistics are averaged alike, so that they fit the weights.
        """
        num_updates = tf.cast(self._state.step, tf.float32)
        decay = tf.minimum(
            self._config.ema_decay, (1 + num_updates) / (10 + num_updates)
        )

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


def _float64_sums(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(tf.stack(terms), tf.float64), axis=1)
