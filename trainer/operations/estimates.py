"""Estimates of the memory and disk space that a run needs."""

import dataclasses
import math

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from trainer.models.vae import VAE
from trainer.reporting import sample_grids
from trainer.runs.state import State

# Memory of a step, measured on the CPU: copies of each layer output (forward and
# backward), copies of a replica's images (including batches that wait), and bytes that
# do not depend on the model.
_COPIES_OF_OUTPUTS, _COPIES_OF_IMAGES, _GRAPH_BYTES = 2, 8, 128 << 20
# Bytes per weight: float64 gradients of one slice and of all slices, and a float32
# gradient of one group.
_GRADIENT_BYTES = 8 + 8 + 4
# Bytes per logged step, in the event files and metrics.jsonl together.
_LOG_BYTES = 1500


@dataclasses.dataclass(frozen=True)
class Disk:
    """Upper bounds on the disk space of a whole run, in bytes.

    Attributes:
        checkpoints: Size of the checkpoints that exist at the same time.
        pictures: Size of the pictures, as PNG files and in the event files.
        scalars: Size of the scalars in the event files and metrics.jsonl.
    """

    checkpoints: int
    pictures: int
    scalars: int

    @property
    def total(self) -> int:
        """Size of everything in bytes."""
        return self.checkpoints + self.pictures + self.scalars


def state_bytes(state: State) -> int:
    """Returns the bytes of the weights, their average and the optimizer's slots."""
    return sum(
        math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
        for variable in state.variables().values()
    )


def step_bytes(
    state: State, config: ConfigDict, num_replicas: int, num_values: int
) -> int:
    """Returns an estimate of a step's bytes per replica, in addition to the state.

    Args:
        state: State of the run.
        config: Resolved settings.
        num_replicas: Number of replicas on all hosts.
        num_values: Number of values per image.
    """
    num_weights = sum(math.prod(var.shape) for var in state.vae.trainable_variables)
    num_examples = config.global_batch_size // num_replicas
    num_at_once = num_examples // config.gradient_accumulation_steps
    value_bytes = 4 if config.precision == "float32" else 2
    outputs = num_at_once * _outputs_of_example(state.vae, config) * value_bytes
    return (
        _GRAPH_BYTES
        + num_weights * _GRADIENT_BYTES
        + outputs * _COPIES_OF_OUTPUTS
        + num_examples * num_values * 4 * _COPIES_OF_IMAGES
    )


def disk(state: State, config: ConfigDict, num_steps: int, num_values: int) -> Disk:
    """Returns upper bounds on the disk space of a run.

    Args:
        state: State of the run.
        config: Resolved settings.
        num_steps: Number of steps in the run.
        num_values: Number of values per image.
    """
    num_checkpoints = config.keep_checkpoints + config.keep_best_checkpoints
    if config.keep_checkpoint_every_steps:
        num_checkpoints += num_steps // config.keep_checkpoint_every_steps
    # A pair shows the original, the encoder's input and the reconstruction.
    num_shown = 3 * config.num_picture_pairs + config.num_picture_samples
    num_shown += sample_grids.NUM_INTERPOLATED
    num_shown += config.num_picture_traversals * sample_grids.NUM_TRAVERSED
    num_drawn = 2 + num_steps // config.image_every_steps
    num_logged = num_steps // config.log_every_steps
    num_logged += num_steps // config.eval_every_steps
    return Disk(
        # A new checkpoint is complete before an old one is removed.
        checkpoints=(num_checkpoints + 1) * state_bytes(state),
        # PNG files and event files both hold each picture. Compression is ignored, so
        # this is an upper bound.
        pictures=2 * num_drawn * num_shown * num_values,
        scalars=num_logged * _LOG_BYTES,
    )


def _outputs_of_example(vae: VAE, config: ConfigDict) -> int:
    """Returns the number of values that all layers together compute for an example."""
    num_classes = 1 if vae.classifier is None else config.num_classes
    # Only the ELBO objective draws importance samples.
    num_draws = config.num_importance_samples if config.objective == "elbo" else 1
    total = num_classes * _num_outputs(vae.encoder)
    total += num_classes * num_draws * _num_outputs(vae.decoder)
    if vae.classifier is not None:
        total += _num_outputs(vae.classifier)
    return total


def _num_outputs(model: keras.Model) -> int:
    return sum(
        math.prod(output.shape[1:])
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
    )
