"""Rows of the tables of published settings."""

import dataclasses
import math
from typing import Any

from tests.published import readings
from tests.published.readings import Reading, setting
from trainer.models.likelihoods import Bernoulli
from trainer.optimization.objectives import ElboObjective

# Outputs of the encoder's second head.
_RAW = (-20.0, 0.0, 2.0)


@dataclasses.dataclass(frozen=True)
class Row:
    """A published setting.

    Attributes:
        place: Part of the write-up that says it.
        name: Name of the setting.
        value: Published value.
        readings: Functions that read the value from the system that a run builds. Each
            of them must return the published value.
    """

    place: str
    name: str
    value: Any
    readings: tuple[Reading, ...]


def row(place: str, name: str, value: Any, *readings: Reading) -> Row:
    """Returns a row."""
    return Row(place, name, value, readings)


def learning_rate(place: str, value: float) -> Row:
    """Returns the row of a learning rate that never changes."""
    return row(
        place,
        "learning_rate",
        value,
        setting("learning_rate"),
        readings.optimizer("learning_rate"),
        readings.first_rate,
        readings.last_rate,
    )


def adam(place: str, beta_1: float, beta_2: float) -> tuple[Row, ...]:
    """Returns the rows of Adam and its decays."""
    return (
        row(place, "optimizer", "Adam", readings.optimizer_kind),
        row(
            place,
            "beta_1",
            beta_1,
            setting("adam_beta_1"),
            readings.optimizer("beta_1"),
        ),
        row(
            place,
            "beta_2",
            beta_2,
            setting("adam_beta_2"),
            readings.optimizer("beta_2"),
        ),
    )


def batch(place: str, value: int) -> Row:
    """Returns the row of a batch, which has one size on all numbers of devices."""
    return row(
        place,
        "batch_size",
        value,
        setting("global_batch_size"),
        readings.batch_size(num_replicas=4),
    )


def num_train_examples(place: str, value: int) -> Row:
    """Returns the row of the number of images to train on."""
    return row(place, "num_train_examples", value, readings.num_train_examples)


def num_steps(place: str, value: int) -> Row:
    """Returns the row of the number of steps."""
    return row(place, "num_steps", value, setting("num_train_steps"))


def plain_updates(place: str) -> tuple[Row, ...]:
    """Returns the rows of updates by images alone, with gradients of any length."""
    return (
        row(place, "condition", "none", setting("condition")),
        row(place, "gradient_clip_norm", 0.0, setting("gradient_clip_norm")),
    )


def averaging(place: str, decay: float) -> Row:
    """Returns the row of the decay of the averaged weights; 0 for no average."""
    return row(place, "averaged_weights", decay, setting("ema_decay"))


def log_variance_head(place: str) -> Row:
    """Returns the row of a second head that computes the log variance."""
    stddevs = tuple(math.exp(raw / 2) for raw in _RAW)
    return row(place, "posterior_scale", stddevs, readings.posterior_stddevs(_RAW))


def softplus_head(place: str, floor: float) -> Row:
    """Returns the row of a second head with the softplus of the scale, plus a floor."""
    stddevs = tuple(math.log1p(math.exp(raw)) + floor for raw in _RAW)
    return row(place, "posterior_scale", stddevs, readings.posterior_stddevs(_RAW))


def latents(place: str, value: int) -> Row:
    """Returns the row of the number of latents."""
    return row(
        place,
        "latents",
        value,
        setting("latent_dim"),
        lambda system: readings.latents(system)[0],
        lambda system: readings.latents(system)[1],
    )


def perceptrons(
    place: str,
    units: tuple[int, ...],
    num_latents: int,
    activation: str,
    scale_layers: tuple[str, ...] = (),
) -> tuple[Row, ...]:
    """Returns the rows of an encoder of dense layers for digits, and its mirror.

    Args:
        place: Part of the write-up.
        units: Units of the encoder's hidden layers.
        num_latents: Number of latents.
        activation: Activation of the hidden layers.
        scale_layers: Lines of the layers after the two heads.
    """
    mirrored = units[::-1]
    wide = (784, *units)
    encoder = [*zip(wide[:-1], wide[1:], strict=True)]
    encoder += [(units[-1], num_latents)] * 2
    wide = (num_latents, *mirrored, 784)
    decoder = [*zip(wide[:-1], wide[1:], strict=True)]
    return (
        latents(place, num_latents),
        row(place, "encoder_units", units, setting("encoder_units")),
        row(place, "decoder_units", mirrored, setting("decoder_units")),
        row(place, "filters", (), setting("encoder_filters")),
        row(place, "decoder_filters", (), setting("decoder_filters")),
        row(
            place,
            "encoder",
            (
                *("Flatten", *_hidden(units, activation)),
                *(f"Dense {num_latents}", f"Dense {num_latents}", *scale_layers),
            ),
            readings.layers("encoder"),
        ),
        row(
            place,
            "decoder",
            (*_hidden(mirrored, activation), "Dense 784"),
            readings.layers("decoder"),
        ),
        row(place, "encoder_kernels", tuple(encoder), readings.kernels("encoder")),
        row(place, "decoder_kernels", tuple(decoder), readings.kernels("decoder")),
        row(
            place,
            "encoder_parameters",
            sum(fan_in * fan_out + fan_out for fan_in, fan_out in encoder),
            readings.num_parameters("encoder"),
        ),
        row(
            place,
            "decoder_parameters",
            sum(fan_in * fan_out + fan_out for fan_in, fan_out in decoder),
            readings.num_parameters("decoder"),
        ),
        row(place, "output", (28, 28, 1), readings.output_shape),
    )


def _hidden(units: tuple[int, ...], activation: str) -> list[str]:
    return [line for num in units for line in (f"Dense {num}", activation)]


def bernoulli_elbo(place: str) -> Row:
    """Returns the row of minus the ELBO with a Bernoulli likelihood of the pixels."""
    return row(
        place,
        "loss",
        ElboObjective(
            Bernoulli(),
            beta=1.0,
            warmup_steps=0,
            free_bits=0.0,
            num_samples=1,
            num_values=784,
        ),
        readings.objective,
    )


def reduction(place: str, value: str) -> Row:
    """Returns the row of the reduction of the loss over the batch."""
    return row(place, "loss_reduction", value, setting("loss_reduction"))


# Levels around one half, the threshold of a binarization. No pixel of MNIST is on it.
_LEVELS = (0.0, 0.25, 127 / 255, 128 / 255, 1.0)


def grey_pixels(place: str) -> tuple[Row, ...]:
    """Returns the rows of grey pixels in [0, 1], which targets and inputs share."""
    return _pixels(place, "none", _LEVELS)


def thresholded_pixels(place: str) -> tuple[Row, ...]:
    """Returns the rows of pixels that are 0 or 1, cut at one half."""
    return _pixels(place, "threshold", (0.0, 0.0, 0.0, 1.0, 1.0))


def drawn_pixels(place: str) -> tuple[Row, ...]:
    """Returns the rows of pixels that are drawn in each step, here with 0.3."""
    return _pixels(place, "dynamic", (0.0, 0.0, 1.0, 1.0, 1.0))


def _pixels(place: str, binarize: str, values: tuple[float, ...]) -> tuple[Row, ...]:
    return (
        row(place, "pixels", (0.0, 1.0), readings.pixels),
        row(place, "binarization", binarize, setting("binarize")),
        row(place, "targets", values, readings.targets(_LEVELS, uniform=0.3)),
    )
