"""Forward pass from a batch to the objective's terms, in training and evaluation.

batch -> target, input, noise -> posterior -> z -> outputs -> terms [b]
"""

from collections.abc import Callable, Sequence

import tensorflow as tf
from ml_collections import ConfigDict

from trainer.data import input_pipeline
from trainer.data.corruption import Corruption, targets_and_inputs
from trainer.data.split_records import Batch
from trainer.models import semi_supervised
from trainer.models.conditions import Conditioning
from trainer.models.vae import VAE, draw_posterior
from trainer.numerics import random
from trainer.numerics.streams import Stream
from trainer.optimization.objectives import Objective, Posterior
from trainer.runs import settings

# Random streams: the latents' stream, then three for `corruption.targets_and_inputs`.
TRAIN_STREAMS = (
    Stream.TRAINING_POSTERIOR,
    Stream.TRAINING_BINARIZATION,
    Stream.TRAINING_NOISE,
    Stream.TRAINING_DROPS,
)
EVAL_STREAMS = (
    Stream.VALIDATION_POSTERIOR,
    Stream.VALIDATION_BINARIZATION,
    Stream.VALIDATION_NOISE,
    Stream.VALIDATION_DROPS,
)


class Forward:
    """Forward pass of a run in a replica.

    Attributes:
        term_names: Names of the values that `terms` returns, in order.
    """

    def __init__(
        self,
        objective: Objective,
        vae: VAE,
        image_shape: Sequence[int],
        conditioning: Conditioning,
        corruption: Corruption,
        *,
        seed: int,
        global_batch_size: int,
        classifier_weight: float,
    ) -> None:
        """Determines the names of the terms.

        Args:
            objective: Loss and its terms.
            vae: Model of the run.
            image_shape: `[height, width, channels]`.
            conditioning: Conditions of the model.
            corruption: Settings of targets and inputs.
            seed: Seed of the run.
            global_batch_size: Number of examples in a batch of all replicas.
            classifier_weight: Weight of the classifier's loss, for a run that trains a
                classifier on few labels.
        """
        self._objective = objective
        self._conditioning, self._corruption = conditioning, corruption
        self._seed, self._global_batch_size = seed, global_batch_size
        self._latent_dim = vae.latent_dim
        self._label_cost = classifier_weight / conditioning.labelled_fraction
        latents = tf.zeros([1, vae.latent_dim])
        draws = tf.zeros([objective.num_samples, vae.latent_dim])
        terms = objective.terms(
            tf.zeros([1, *image_shape]),
            tf.zeros([objective.num_samples, *vae.decoder.output_shape[1:]]),
            Posterior(latents, latents, draws),
            tf.constant(0, tf.int64),
        )
        if vae.classifier is not None:
            terms |= dict.fromkeys(semi_supervised.TERMS)
        self.term_names = sorted(terms)

    def examples(
        self, batch: Batch, streams: Sequence[Stream], index: tf.Tensor
    ) -> Batch:
        """Returns this replica's batch with its conditions and random draws.

        Args:
            batch: The replica's share of a global batch.
            streams: `TRAIN_STREAMS` or `EVAL_STREAMS`.
            index: Index of the draws: the step in training; the batch's place in its
                split in evaluation.

        Returns:
            The batch without `image`, but with `target` and `input` `[b, h, w, c]`,
            `conditions` `[b, num_conditions]`, and standard normal `noise`
            `[b, draws of z, latent_dim]`.
        """
        draw_stream, *image_streams = streams
        others = dict(batch)
        image = input_pipeline.scaled(others.pop("image"))
        shape = image.shape[1:].as_list()
        targets, inputs = targets_and_inputs(
            image,
            self._corruption,
            lambda distribution, stream: self._draw(
                distribution, shape, image_streams[stream], index
            ),
        )
        num_draws = self._objective.num_samples
        if self._conditioning.has_classifier:
            num_draws *= self._conditioning.num_classes
        noise = self._draw(
            tf.random.stateless_normal,
            [num_draws, self._latent_dim],
            draw_stream,
            index,
        )
        return {
            **others,
            "target": targets,
            "input": inputs,
            "conditions": self._conditioning.vectors(batch),
            "noise": noise,
        }

    def terms(
        self, vae: VAE, examples: Batch, step: tf.Tensor, *, training: bool
    ) -> list[tf.Tensor]:
        """Returns the objective's terms, `[b]` each, in the order of `term_names`.

        Args:
            vae: Model to use.
            examples: Examples from `examples`, or a slice of them.
            step: Number of updates made.
            training: Whether batch norm uses the batch's statistics.
        """
        terms, _ = self.terms_and_posterior(vae, examples, step, training=training)
        return terms

    def terms_and_posterior(
        self, vae: VAE, examples: Batch, step: tf.Tensor, *, training: bool
    ) -> tuple[list[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Returns the result of `terms`, and mean and log variance of q(z|x).

        Mean and log variance are `[b, latent_dim]` each. If the run trains a
        classifier, they belong to q(z|x, y) with the example's label y.
        """
        targets, inputs = examples["target"], examples["input"]
        noise = tf.reshape(examples["noise"], [-1, self._latent_dim])
        if vae.classifier is None:
            terms, posterior = self._terms_given(
                vae,
                targets,
                inputs,
                examples["conditions"],
                noise,
                step,
                training=training,
            )
        else:
            num_classes = self._conditioning.num_classes
            many_targets, classes = semi_supervised.with_every_class(
                targets, num_classes
            )
            many_inputs = tf.repeat(inputs, num_classes, axis=0)
            terms, posterior = self._terms_given(
                vae, many_targets, many_inputs, classes, noise, step, training=training
            )
            posterior = tuple(
                semi_supervised.of_label(tensor, examples["label"], num_classes)
                for tensor in posterior
            )
            terms = semi_supervised.marginalise(
                terms,
                vae.classify(inputs, training=training),
                examples["label"],
                # An evaluation treats examples as unlabelled, to test the classifier.
                training
                & semi_supervised.is_labelled(
                    examples, self._conditioning.labelled_fraction, num_classes
                ),
                self._label_cost,
            )
        return [terms[name] for name in self.term_names], posterior

    def _terms_given(
        self,
        vae: VAE,
        targets: tf.Tensor,
        inputs: tf.Tensor,
        conditions: tf.Tensor,
        noise: tf.Tensor,
        step: tf.Tensor,
        *,
        training: bool,
    ) -> tuple[dict[str, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Returns the objective's terms, and the posterior's mean and log variance.

        The terms are `[n]` each; mean and log variance are `[n, latent_dim]` each.

        Args:
            vae: Model to use.
            targets: `[n, h, w, c]`; every example of the batch occurs equally often.
            inputs: `[n, h, w, c]`.
            conditions: `[n, num_conditions]`.
            noise: `[n * num_samples, latent_dim]` standard normal.
            step: Number of updates made.
            training: Whether batch norm uses the batch's statistics.
        """
        mean, log_var = vae.encode(inputs, conditions, training=training)
        k = self._objective.num_samples
        repeated = [mean, log_var]
        if k > 1:
            repeated = [tf.repeat(tensor, k, axis=0) for tensor in repeated]
        z = draw_posterior(*repeated, noise)
        many_conditions = conditions if k == 1 else tf.repeat(conditions, k, axis=0)
        outputs = vae.decode(z, many_conditions, training=training)
        if training:
            many = targets if k == 1 else tf.repeat(targets, k, axis=0)
            outputs = vae.likelihood.fit(many, outputs, vae.decoder)
        terms = self._objective.terms(
            targets, outputs, Posterior(mean, log_var, z), step
        )
        return terms, (mean, log_var)

    def _draw(
        self,
        distribution: Callable[..., tf.Tensor],
        shape: Sequence[int],
        stream: Stream,
        index: tf.Tensor,
    ) -> tf.Tensor:
        """Returns this replica's part of one draw over the global batch."""
        draw = distribution(
            [self._global_batch_size, *shape],
            random.fold(self._seed, stream, index),
            alg="philox",
        )
        first, end = share(self._global_batch_size)
        return draw[first:end]


def make_forward(
    objective: Objective, vae: VAE, image_shape: Sequence[int], config: ConfigDict
) -> Forward:
    """Returns the forward pass of a run.

    Args:
        objective: Loss and its terms.
        vae: Model of the run.
        image_shape: `[height, width, channels]`.
        config: Resolved settings.
    """
    return Forward(
        objective,
        vae,
        image_shape,
        settings.select(config, Conditioning),
        settings.select(config, Corruption),
        seed=config.seed,
        global_batch_size=config.global_batch_size,
        classifier_weight=config.classifier_weight,
    )


def float64_sums(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the sum of each term over its `[b]` examples, `[len(terms)]` float64."""
    return tf.reduce_sum(tf.cast(tf.stack(terms), tf.float64), axis=1)


def share(global_batch_size: int) -> tuple[int, int]:
    """Returns the first place and the end (exclusive) of this replica in the batch."""
    context = tf.distribute.get_replica_context()
    size = global_batch_size // context.num_replicas_in_sync
    first = context.replica_id_in_sync_group * size
    return first, first + size
