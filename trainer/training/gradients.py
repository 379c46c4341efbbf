"""Gradients of a global batch, computed slice by slice to save memory.

examples -> slices, one after another -> terms [b] -> float64 sums
         -> gradients, summed over groups, slices and replicas in float64
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainer.data.split_records import Batch
from trainer.models import batch_norm
from trainer.numerics import exact
from trainer.runs.state import State
from trainer.training.forward import Forward, float64_sums


class Gradients:
    """Computes the gradients of one run."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        state: State,
        forward: Forward,
        *,
        num_groups: int,
        num_slices: int,
        loss_divisor: int,
        clip_norm: float,
        batch_norm_warmup: bool,
    ) -> None:
        """Stores the parts of the run.

        Args:
            strategy: Strategy of the run; its scope holds the state.
            state: State of the run; `compute` changes its batch-norm statistics.
            forward: Forward pass of the run.
            num_groups: Number of groups in a replica's share of the batch.
            num_slices: Number of slices in a replica's share, computed in turn; a
                divisor of `num_groups`.
            loss_divisor: Divisor of the summed losses: the global batch size for a
                mean, 1 for a sum.
            clip_norm: Largest global norm of the gradients; 0 for no limit.
            batch_norm_warmup: Whether to warm up the moving statistics; see
                `batch_norm.warm_up`.
        """
        self._strategy = strategy
        self._state = state
        self._forward = forward
        self._num_groups, self._num_slices = num_groups, num_slices
        self._loss_divisor, self._clip_norm = loss_divisor, clip_norm
        self._batch_norm_warmup = batch_norm_warmup

    def compute(self, examples: Any) -> tuple[Any, list[tf.Tensor]]:
        """Returns each replica's sums of the terms, and the global batch's gradients.

        Slices are computed in turn, so a step needs the memory of a single slice.

        Args:
            examples: Examples of each replica.

        Returns:
            Each replica's sums of the terms; and one float64 gradient per trainable
            weight, summed over replicas and multiplied by the loss scale.
        """
        variables = [variable.value for variable in self._state.vae.trainable_variables]

        def add_slice(index: tf.Tensor, totals: Any) -> tuple[tf.Tensor, Any]:
            totals = self._strategy.run(self._add_slice, (examples, index, totals))
            return index + 1, totals

        start = tf.constant(0), self._strategy.run(self._zeros)
        if self._num_slices == 1:
            _, totals = add_slice(*start)
        else:
            _, totals = tf.while_loop(
                lambda index, _: index < self._num_slices,
                add_slice,
                start,
                parallel_iterations=1,
            )
        sums, *gradients = totals
        gradients = self._strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, list(zip(gradients, variables, strict=True))
        )
        return sums, [
            self._strategy.experimental_local_results(gradient)[0]
            for gradient in gradients
        ]

    def _zeros(self) -> list[tf.Tensor]:
        """Returns this replica's initial totals for `_add_slice`."""
        shapes = [variable.shape for variable in self._state.vae.trainable_variables]
        return [
            tf.zeros(shape, tf.float64)
            for shape in ([len(self._forward.term_names)], *shapes)
        ]

    def _add_slice(
        self, examples: Batch, index: tf.Tensor, totals: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Returns this replica's totals plus the terms and gradients of a slice."""
        vae, step = self._state.vae, self._state.step
        part = {
            name: exact.take_slice(x, index, self._num_slices, self._num_groups)
            for name, x in examples.items()
        }
        num_groups = self._num_groups // self._num_slices
        with (
            batch_norm.warm_up(step)
            if self._batch_norm_warmup
            else contextlib.nullcontext(),
            exact.scope(num_groups, vae.trainable_variables) as weights,
        ):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                terms = self._forward.terms(vae, part, step, training=True)
                # Pick the loss first: a slice of the stacked terms' sums would send
                # zero gradients through every other term.
                loss_per_example = terms[self._forward.term_names.index("loss")]
                loss = tf.reduce_sum(tf.cast(loss_per_example, tf.float64))
                loss /= self._loss_divisor
                if self._state.loss_scale is not None:
                    loss *= self._state.loss_scale.scale
            gradients = tape.gradient(loss, weights)
        sums = float64_sums(terms)
        return [
            total + value
            for total, value in zip(totals, [sums, *gradients], strict=True)
        ]

    def global_norm(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the joint norm of all gradients, without the loss scale."""
        norm = tf.sqrt(2 * tf.add_n([tf.nn.l2_loss(each) for each in gradients]))
        if self._state.loss_scale is not None:
            norm /= self._state.loss_scale.scale
        return norm

    def clip_and_unscale(
        self, gradients: Sequence[tf.Tensor], norm: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        """Returns gradients without the loss scale, clipped to norm `clip_norm`.

        Source:
            Pascanu et al., "On the difficulty of training Recurrent Neural Networks",
            algorithm 1.
        """
        factor = tf.ones([], tf.float64)
        if self._clip_norm:
            factor = tf.minimum(factor, self._clip_norm / norm)
        if self._state.loss_scale is not None:
            factor /= self._state.loss_scale.scale
        elif not self._clip_norm:
            return gradients
        return [gradient * factor for gradient in gradients]
