"""Options of a layer: defaults for all layers, and overrides for single layers."""

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import keras
from ml_collections import ConfigDict

ACTIVATIONS = ("relu", "tanh", "linear", "leaky_relu", "elu", "softplus", "sigmoid")

# A larger kernel is a typing error, and could fill the memory.
_MAX_KERNEL_SIZE = 255
# Keys are the values that `kernel_initializer` may take.
INITIALIZERS: Mapping[str, Mapping[str, Any]] = {
    "glorot_uniform": {"class_name": "GlorotUniform", "config": {}},
    "he_normal": {"class_name": "HeNormal", "config": {}},
    # Normal distribution with standard deviation 2 / sqrt(fan_in).
    "normal_2_over_sqrt_fan_in": {
        "class_name": "VarianceScaling",
        "config": {"scale": 4.0, "distribution": "untruncated_normal"},
    },
    "truncated_normal_0.1": {
        "class_name": "TruncatedNormal",
        "config": {"stddev": 0.1},
    },
}


@dataclasses.dataclass(frozen=True)
class LayerOptions:
    """Options of one layer.

    Attributes:
        activation: Name of the activation, from `ACTIVATIONS`.
        batch_norm: Whether batch norm comes before the activation and replaces the
            bias.
        kernel_initializer: Name of the initializer, from `INITIALIZERS`.
        kernel_size: Side of a convolution's kernel in pixels.
    """

    activation: str
    batch_norm: bool
    kernel_initializer: str
    kernel_size: int

    def __post_init__(self) -> None:
        """Checks that each value is allowed."""
        for field, allowed in (
            ("activation", ACTIVATIONS),
            ("kernel_initializer", tuple(INITIALIZERS)),
        ):
            if getattr(self, field) not in allowed:
                raise ValueError(
                    f"a layer's {field} is {getattr(self, field)!r}, but must be one "
                    f"of {', '.join(allowed)}: change `config.layer_defaults.{field}` "
                    "or `config.layer_overrides`"
                )
        if not 1 <= self.kernel_size <= _MAX_KERNEL_SIZE:
            raise ValueError(
                f"a layer's kernel_size is {self.kernel_size}, but must be from 1 to "
                f"{_MAX_KERNEL_SIZE}: change `config.layer_defaults.kernel_size` or "
                "`config.layer_overrides`"
            )

    def make_initializer(self, seeds: random.Random) -> keras.initializers.Initializer:
        """Returns a new initializer, whose seed is the next draw of `seeds`."""
        initializer = dict(INITIALIZERS[self.kernel_initializer])
        # Keras draws the same seeds, but from a generator that all threads share.
        seed = seeds.randint(1, 10**9)
        initializer["config"] = {**initializer.get("config", {}), "seed": seed}
        return keras.initializers.get(initializer)


class LayerTable:
    """The options of every layer of a model part, by the layer's name.

    Attributes:
        part: Name of the part: `encoder`, `decoder` or `classifier`.
        seeds: Generator of the seeds of initial weights.
    """

    def __init__(
        self, config: ConfigDict, part: str, seeds: random.Random | None
    ) -> None:
        """Reads `layer_defaults` and the `layer_overrides` of one model part.

        Args:
            config: Settings. The name of an override is `part/layer`, as in
                `{"encoder/dense_0": {"activation": "tanh"}}`.
            part: Name of the part: `encoder`, `decoder` or `classifier`.
            seeds: Generator of the seeds of initial weights; None for a new generator.
        """
        self.part = part
        self.seeds = seeds or random.Random(config.seed)
        self._defaults = config.layer_defaults.to_dict()
        overrides = config.layer_overrides.to_dict()
        self._overrides = {
            name.removeprefix(f"{part}/"): changes
            for name, changes in overrides.items()
            if name.startswith(f"{part}/")
        }
        strays = [name for name in overrides if not name.startswith(PARTS)]
        if strays:
            raise ValueError(
                f"`config.layer_overrides` has the name {strays[0]!r}: a name must "
                f"begin with one of {', '.join(PARTS)}"
            )
        self._known: list[str] = []

    def options(self, layer: str, **own_defaults: Any) -> LayerOptions:
        """Returns the options of a layer.

        Args:
            layer: Name of the layer.
            **own_defaults: Defaults for this layer that replace `layer_defaults`.

        Raises:
            ValueError: If an override has an unknown option, or a value is wrong.
        """
        self._known.append(layer)
        changes = self._overrides.get(layer, {})
        names = {field.name for field in dataclasses.fields(LayerOptions)}
        unknown = sorted({*changes, *self._defaults} - names)
        if unknown:
            raise ValueError(
                "`config.layer_overrides` or `config.layer_defaults` has the unknown "
                f"option {unknown[0]!r}: the options of a layer are "
                f"{', '.join(sorted(names))}"
            )
        return LayerOptions(**{**self._defaults, **own_defaults, **changes})

    def check_all_used(self) -> None:
        """Checks that every override names a layer of this part.

        Raises:
            ValueError: If an override names no layer; the message lists the layers.
        """
        strays = sorted(self._overrides.keys() - set(self._known))
        if strays:
            raise ValueError(
                "`config.layer_overrides` names the unknown layer "
                f"{self.part}/{strays[0]}: the layers of the {self.part} are "
                f"{', '.join(self._known)}"
            )


PARTS = ("encoder/", "decoder/", "classifier/")
