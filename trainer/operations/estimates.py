"""What a run will take of memory and of disk, by its settings and its model."""

import dataclasses
import math

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from trainer.models.vae import VAE
from trainer.reporting import sample_grids
from trainer.runs.state import State

# What a step holds, measured on the CPU: of each value that a layer gives, forth and
# back; of the images of a replica, some of which wait; and whatever the model.
_COPIES_OF_OUTPUTS, _COPIES_OF_IMAGES, _GRAPH_BYTES = 2, 8, 128 << 20
# Float64 gradients: of a slice and of all slices, and one of a group in float32.
_GRADIENT_BYTES = 8 + 8 + 4
# A logged step in the event files and metrics.jsonl.
_LOG_BYTES = 1500


@dataclasses.dataclass(frozen=True)
class Disk:
    """Bytes that a whole run leaves in its workdir, at most.

    Attributes:
        checkpoints: The most that are there at once.
        pictures: As PNG files and in the event files.
        scalars: In the event files and metrics.jsonl.
    """

    checkpoints: int
    pictures: int
    scalars: int

    @property
    def total(self) -> int:
        """Of all."""
        return self.checkpoints + self.pictures + self.scalars


def state_bytes(state: State) -> int:
    """Returns the size of the weights, their average and the optimizer's slots."""
    return sum(
        math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
        for variable in state.variables().values()
    )


def step_bytes(
    state: State, config: ConfigDict, num_replicas: int, num_values: int
) -> int:
    """Returns what a step takes in a replica beside the state: an estimate.

    Args:
        state: Of the run.
        config: Resolved settings.
        num_replicas: Over all hosts.
        num_values: Of an image.
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
    """Returns what a run leaves in its workdir, at most.

    Args:
        state: Of the run.
        config: Resolved settings.
        num_steps: How many it makes.
        num_values: Of an image.
    """
    num_checkpoints = config.keep_checkpoints + config.keep_best_checkpoints
    if config.keep_checkpoint_every_steps:
        num_checkpoints += num_steps // config.keep_checkpoint_every_steps
    # An original, its reconstruction, and between them what the encoder saw.
    num_shown = 3 * config.num_picture_pairs + config.num_picture_samples
    num_shown += sample_grids.NUM_INTERPOLATED
    num_shown += config.num_picture_traversals * sample_grids.NUM_TRAVERSED
    num_drawn = 2 + num_steps // config.image_every_steps
    num_logged = num_steps // config.log_every_steps
    num_logged += num_steps // config.eval_every_steps
    return Disk(
        # The next is whole before an old one goes.
        checkpoints=(num_checkpoints + 1) * state_bytes(state),
        # As PNG and in the events; compression is what is gained.
        pictures=2 * num_drawn * num_shown * num_values,
        scalars=num_logged * _LOG_BYTES,
    )


def _outputs_of_example(vae: VAE, config: ConfigDict) -> int:
    """Returns how many values the layers give for an example, all together."""
    num_classes = 1 if vae.classifier is None else config.num_classes
    # Importance samples are of the objective that has them.
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
