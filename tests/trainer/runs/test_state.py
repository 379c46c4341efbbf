import pathlib

import keras
import pytest

from configs import celeba_debug, mnist_dense
from pipeline import contract
from trainer.optimization import optimizers
from trainer.runs import checkpoints, state

MANIFEST = contract.Manifest(
    name="d",
    settings={},
    source_fingerprint="ab",
    features={
        "key": contract.Feature("string"),
        "image": contract.Feature("float32", (32, 32, 3)),
    },
    splits={},
)


def test_the_state_is_a_function_of_the_settings() -> None:
    first, again = (
        state.make_state(celeba_debug.get_config(), MANIFEST) for _ in range(2)
    )
    assert first.variables().keys() == again.variables().keys() >= {"step", "ledger"}
    for name, variable in first.variables().items():
        assert (variable.numpy() == again.variables()[name].numpy()).all(), name


def test_the_averaged_model_alone_is_loaded(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    fresh = state.make_state(config, MANIFEST)
    kernel = fresh.ema_vae.encoder.get_layer("conv_0").kernel
    kernel.assign(kernel + 1)
    fresh.step.assign(7)
    checkpoints.save(tmp_path, 7, fresh.arrays(), {})
    vae, step = state.load_averaged_vae(config, MANIFEST, tmp_path)
    assert step == 7
    loaded = vae.encoder.get_layer("conv_0").kernel
    assert (loaded.numpy() == kernel.numpy()).all()
    config.latent_dim = 3
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another model"):
        state.load_averaged_vae(config, MANIFEST, tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="has no checkpoint"):
        state.load_averaged_vae(config, MANIFEST, tmp_path / "none")


def test_the_optimizer_is_the_one_that_is_named() -> None:
    adam = optimizers.make_optimizer(celeba_debug.get_config())
    assert isinstance(adam, keras.optimizers.Adam)
    assert (adam.beta_1, adam.epsilon) == (0.95, 1e-8)
    rmsprop = optimizers.make_optimizer(mnist_dense.get_config())
    assert isinstance(rmsprop, keras.optimizers.RMSprop)
    assert rmsprop.rho == 0.9
    config = celeba_debug.get_config()
    config.optimizer = "sgd"
    with pytest.raises(ValueError, match="optimizer='sgd' must be adam or rmsprop"):
        optimizers.make_optimizer(config)


def test_the_loss_scale_is_saved_and_restored(tmp_path: pathlib.Path) -> None:
    config = celeba_debug.get_config()
    config.precision = "mixed_float16"
    fresh, other = (state.make_state(config, MANIFEST) for _ in range(2))
    assert fresh.loss_scale is not None
    assert other.loss_scale is not None
    fresh.loss_scale.scale.assign(2.0**9)
    fresh.loss_scale.num_good_steps.assign(7)
    checkpoints.save(tmp_path, 0, fresh.arrays(), {})
    assert state.restore(other, tmp_path)
    assert float(other.loss_scale.scale) == 2.0**9
    assert int(other.loss_scale.num_good_steps) == 7
