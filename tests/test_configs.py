"""Every key of a config is read somewhere, and every config builds a model."""

import importlib
import math
import pathlib
import re

import pytest
import tensorflow as tf

from trainer.models.vae import make_vae
from trainer.optimization.objectives import make_objective
from trainer.runs import settings

ROOT = pathlib.Path(__file__).parents[1]
NAMES = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__"
)


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_read(name: str) -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "trainer").rglob("*.py")
    )
    config = importlib.import_module(f"configs.{name}").get_config()
    for key in config:
        assert re.search(rf"config\.{key}\b", source), f"nothing reads {key}"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_locked_and_makes_a_model(name: str) -> None:
    config = importlib.import_module(f"configs.{name}").get_config()
    assert config.is_locked
    settings.resolve(config, num_replicas=2)
    size = config.base_size * 2 ** len(config.encoder_filters)
    shape = (size, size, 3) if config.encoder_filters else (28, 28, 1)
    vae = make_vae(config, shape)
    z, nothing = tf.zeros([2, config.latent_dim]), tf.zeros([2, 0])
    assert vae.mean_image(z, nothing).shape == (2, *shape)
    assert make_objective(config, math.prod(shape)).describe()
