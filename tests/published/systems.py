"""A published system as a run builds it, from its config."""

import dataclasses
import functools
import importlib
import math

import keras
from ml_collections import ConfigDict

from trainer.models.vae import VAE, make_vae
from trainer.optimization.objectives import Objective, make_objective
from trainer.optimization.optimizers import make_optimizer
from trainer.runs import settings

_DIGITS, _FACES = (28, 28, 1), (128, 128, 3)


@dataclasses.dataclass(frozen=True)
class System:
    """The parts that a run makes from a config.

    Attributes:
        given: Settings as the user gives them.
        config: Settings, resolved for one replica.
        vae: Model with its initial weights.
        optimizer: Optimizer before its first step.
        objective: Loss that training minimises.
    """

    given: ConfigDict
    config: ConfigDict
    vae: VAE
    optimizer: keras.optimizers.Optimizer
    objective: Objective

    def part(self, name: str) -> keras.Model:
        """Returns the encoder or the decoder."""
        return {"encoder": self.vae.encoder, "decoder": self.vae.decoder}[name]


@functools.cache
def load_system(name: str) -> System:
    """Returns the system of a config."""
    config = importlib.import_module(f"configs.{name}").get_config()
    return make_system(config, _FACES if name == "celeba" else _DIGITS)


def make_system(given: ConfigDict, image_shape: tuple[int, int, int]) -> System:
    """Returns the system of settings, for images of `[height, width, channels]`."""
    config = settings.resolve(given, num_replicas=1)
    keras.utils.set_random_seed(config.seed)
    return System(
        given,
        config,
        make_vae(config, image_shape),
        make_optimizer(config),
        make_objective(config, math.prod(image_shape)),
    )
