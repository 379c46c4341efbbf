"""Values of a system that a write-up may publish.

A reading is a function of a `System`. Functions with arguments return readings.
"""

import dataclasses
import itertools
import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline import contract, sources
from tests.published.systems import System
from trainer.data import splits
from trainer.data.corruption import Corruption, targets_and_inputs
from trainer.optimization.objectives import Objective, make_objective
from trainer.optimization.schedules import Schedule
from trainer.runs import settings
from trainer.training import monitor
from trainer.training.cadence import Cadence

Reading = Callable[[System], Any]

# Layers that hold no published setting.
_PLUMBING = (keras.layers.InputLayer, keras.layers.Rescaling, keras.layers.Reshape)
_MNIST = contract.Manifest(
    name="mnist",
    settings={},
    source_fingerprint="",
    features={},
    splits={
        "train": contract.SplitInfo((contract.ShardInfo("", 55_000, 0, ""),)),
        "validation": contract.SplitInfo((contract.ShardInfo("", 5_000, 0, ""),)),
        "test": contract.SplitInfo((contract.ShardInfo("", 10_000, 0, ""),)),
    },
)


def setting(name: str) -> Reading:
    """Reads a setting of the resolved config; a dot separates groups."""
    return lambda system: settings.flatten(system.config)[name]


def batch_size(num_replicas: int) -> Reading:
    """Reads the examples per step of a run on several replicas."""
    return lambda system: settings.resolve(system.given, num_replicas).global_batch_size


def default_image_size(source: str) -> Reading:
    """Reads the size in pixels to which `pipeline.prepare` resizes a source."""
    return lambda system: sources.find(source).image_size


def num_train_examples(system: System) -> int:
    """Reads the number of images of MNIST that a run trains on."""
    return splits.num_examples(_MNIST, str(system.config.train_split))


def evaluated_part(system: System) -> tuple[str, int]:
    """Reads the split of MNIST that evaluations and pictures use, and its size."""
    split = str(system.config.eval_split)
    return split, splits.num_examples(_MNIST, split)


def input_shape(system: System) -> tuple[int, ...]:
    """Reads `(height, width, channels)` of the encoder's images."""
    return system.vae.encoder.input_shape[1:]


def output_shape(system: System) -> tuple[int, ...]:
    """Reads `(height, width, outputs)` of the decoder."""
    return system.vae.decoder.output_shape[1:]


def latents(system: System) -> tuple[int, ...]:
    """Reads the widths of the posterior's mean and log variance."""
    return tuple(output.shape[1] for output in system.vae.encoder.outputs)


def pixels(system: System) -> tuple[float, float]:
    """Reads black and white as the encoder's first layer sees them."""
    scaling = [
        layer
        for layer in system.vae.encoder.layers
        if isinstance(layer, keras.layers.Rescaling)
    ]
    levels = tf.constant([-1.0, 1.0])
    for layer in scaling:
        levels = layer(levels)
    black, white = np.array(levels).tolist()
    return black, white


def targets(levels: Sequence[float], uniform: float) -> Reading:
    """Reads the targets in [0, 1] of grey levels, if all random numbers are equal."""

    def read(system: System) -> tuple[float, ...]:
        images = 2 * tf.constant(levels) - 1
        images, inputs = targets_and_inputs(
            images,
            settings.select(system.config, Corruption),
            lambda distribution, use: tf.fill(images.shape, uniform),
        )
        np.testing.assert_array_equal(images, inputs)
        return tuple(((images + 1) / 2).numpy().tolist())

    return read


def layers(part: str) -> Reading:
    """Reads a line for each layer of the encoder or decoder, in order."""
    return lambda system: tuple(
        _line(layer)
        for layer in system.part(part).layers
        if not isinstance(layer, _PLUMBING)
    )


def _line(layer: keras.layers.Layer) -> str:
    kind = type(layer).__name__
    if isinstance(layer, keras.layers.BatchNormalization):
        return f"{kind} {layer.momentum:g}"
    if not hasattr(layer, "activation"):
        return kind
    activation = layer.activation.__name__
    if isinstance(layer, keras.layers.Activation):
        return activation
    # The layers of this repository leave the activation to a layer of its own.
    assert activation == "linear"
    if isinstance(layer, keras.layers.Dense):
        return f"{kind} {layer.units}"
    (height, width), (stride, _) = layer.kernel_size, layer.strides
    return f"{kind} {layer.filters} {height}x{width}/{stride} {layer.padding}"


def maps(part: str) -> Reading:
    """Reads `(height, width, filters)` after each convolutional block with ReLU."""
    return lambda system: tuple(
        layer.output.shape[1:]
        for layer in system.part(part).layers
        if layer.name.startswith(("conv", "deconv")) and layer.name.endswith("_relu")
    )


def kernels(part: str) -> Reading:
    """Reads the shapes of the kernels of the encoder or decoder."""
    return lambda system: tuple(
        tuple(variable.shape)
        for variable in system.part(part).trainable_variables
        if variable.name == "kernel"
    )


def num_parameters(part: str) -> Reading:
    """Reads the number of trained parameters of the encoder or decoder."""
    return lambda system: sum(
        math.prod(variable.shape) for variable in system.part(part).trainable_variables
    )


def nonzero_biases(system: System) -> list[str]:
    """Reads the names of biases that do not start at 0."""
    return [
        name
        for name, variable in system.vae.named_variables().items()
        if variable.name == "bias" and variable.numpy().any()
    ]


@dataclasses.dataclass(frozen=True)
class Law:
    """Distribution of initial kernels.

    Attributes:
        stddev: Function that returns the standard deviation, given the fan-in and the
            fan-out of a kernel.
        limits: Least and largest magnitude of the largest of many values, in standard
            deviations. They tell distributions of one standard deviation apart.
    """

    stddev: Callable[[int, int], float]
    limits: tuple[float, float]


GLOROT_UNIFORM = Law(lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)), (1, 3))


def strays(law: Law) -> Reading:
    """Reads the kernels whose initial values do not follow a law, with the values."""

    def read(system: System) -> list[str]:
        return [
            f"{name}: deviation {kernel.std()}, at most {np.abs(kernel).max()}"
            for name, variable in system.vae.named_variables().items()
            if variable.name == "kernel"
            and not _follows(kernel := variable.numpy(), law)
        ]

    return read


def _follows(kernel: np.ndarray, law: Law) -> bool:
    *window, first, second = kernel.shape
    stddev = law.stddev(math.prod(window) * first, math.prod(window) * second)
    least, largest = law.limits
    # Four standard errors of the standard deviation of a normal sample.
    is_near = abs(kernel.std() / stddev - 1) < 4 / math.sqrt(2 * kernel.size)
    return is_near and least <= np.abs(kernel).max() / stddev <= largest


def posterior_stddevs(raw: Sequence[float]) -> Reading:
    """Reads the posterior's standard deviations, given outputs of its second head."""

    def read(system: System) -> tuple[float, ...]:
        encoder = system.vae.encoder
        head, log_var = encoder.get_layer("posterior_log_var"), encoder.outputs[1]
        rows = tf.repeat(tf.constant(raw)[:, tf.newaxis], log_var.shape[1], axis=1)
        if log_var is not head.output:
            rows = keras.Model(head.output, log_var)(rows)
        return tuple(np.exp(rows[:, 0] / 2).tolist())

    return read


def optimizer_kind(system: System) -> str:
    """Reads the name of the optimizer's class."""
    return type(system.optimizer).__name__


def optimizer(attribute: str) -> Reading:
    """Reads a number of the optimizer."""
    return lambda system: float(getattr(system.optimizer, attribute))


def rates(steps: Sequence[int]) -> Reading:
    """Reads the learning rates of the updates after some numbers of steps."""

    def read(system: System) -> tuple[float, ...]:
        schedule = settings.select(system.config, Schedule)
        return tuple(float(schedule.rate(step)) for step in steps)

    return read


def first_rate(system: System) -> float:
    """Reads the learning rate of the first update."""
    [rate] = rates([0])(system)
    return rate


def last_rate(system: System) -> float:
    """Reads the learning rate of the last update."""
    num_steps = settings.select(system.config, Cadence).num_train_steps
    [rate] = rates([num_steps - 1])(system)
    return rate


def objective(system: System) -> Objective:
    """Reads the loss."""
    return system.objective


def objective_with(**changes: Any) -> Reading:
    """Reads the loss of a user who changes some settings."""

    def read(system: System) -> Objective:
        config = system.config.copy_and_resolve_references()
        config.update(changes)
        return make_objective(config, math.prod(system.vae.encoder.input_shape[1:]))

    return read


def first_steps(event: str) -> Reading:
    """Reads the first three steps with an event: `evaluated`, `pictured` or `logged`.

    A run logs no training step before the first update.
    """

    def read(system: System) -> tuple[int, ...]:
        cadence = settings.select(system.config, Cadence)
        is_due = getattr(cadence, f"is_{event}")
        steps = itertools.count(1 if event == "logged" else 0)
        return tuple(itertools.islice(filter(is_due, steps), 3))

    return read


def printed(step: int, **scalars: float) -> Reading:
    """Reads the line that an evaluation prints, given a step and its figures."""
    return lambda system: monitor.eval_text(step, scalars, _MNIST, system.config)


def head_of(reading: Reading) -> Reading:
    """Reads the part of a line up to its first colon."""
    return lambda system: "".join(reading(system).partition(":")[:2])


def printed_names(*names: str) -> Reading:
    """Reads which of some names the line of an evaluation prints."""

    def read(system: System) -> tuple[str, ...]:
        fields = string.Formatter().parse(str(system.config.eval_line))
        shown = {name for _, name, _, _ in fields}
        return tuple(name for name in names if name in shown)

    return read


def strip(system: System) -> tuple[str, ...]:
    """Reads the grids that stand side by side in the strip; none without a strip."""
    return monitor.STRIP_GRIDS if system.config.show_strip else ()
