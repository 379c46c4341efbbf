import numpy as np
import pytest
import tensorflow as tf

from configs import celeba
from trainer.data import corruption
from trainer.runs import setting_checks

RNG = np.random.default_rng(0)
IMAGES = tf.constant(RNG.uniform(-1, 1, (2, 40, 40, 1)), tf.float32)
UNIFORM = tf.constant(RNG.uniform(0, 1, (2, 40, 40, 1)), tf.float32)
NORMAL = tf.constant(RNG.normal(size=(2, 40, 40, 1)), tf.float32)


def test_images_stay_grey_or_are_cut_at_the_middle() -> None:
    np.testing.assert_array_equal(corruption.binarize(IMAGES, "none", UNIFORM), IMAGES)
    cut = corruption.binarize(IMAGES, "threshold", UNIFORM).numpy()
    np.testing.assert_array_equal(cut, np.where(IMAGES > 0, 1, -1))


def test_a_drawn_value_is_one_as_often_as_it_is_bright() -> None:
    for value, share in ((-1.0, 0.0), (-0.5, 0.25), (0.6, 0.8), (1.0, 1.0)):
        drawn = corruption.binarize(tf.fill(IMAGES.shape, value), "dynamic", UNIFORM)
        assert set(np.unique(drawn)) <= {-1, 1}
        assert float(tf.reduce_mean((drawn + 1) / 2)) == pytest.approx(share, abs=0.03)


def test_noise_is_added_and_values_are_dropped() -> None:
    noisy = corruption.corrupt(IMAGES, 0.5, 0.0, NORMAL, UNIFORM)
    np.testing.assert_allclose(noisy, IMAGES + 0.5 * NORMAL, rtol=1e-6)
    dropped = corruption.corrupt(IMAGES, 0.0, 0.3, NORMAL, UNIFORM).numpy()
    expected = np.where(UNIFORM.numpy() < np.float32(0.3), -1, IMAGES)
    np.testing.assert_array_equal(dropped, expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("binarize", "always", "must be one of none, threshold, dynamic"),
        ("input_noise_stddev", -0.1, "input_noise_stddev=-0.1 must not be negative"),
        ("input_drop_fraction", 1.0, r"input_drop_fraction=1.0 must be in \[0, 1\)"),
    ],
)
def test_settings_are_checked(name: str, value: object, message: str) -> None:
    config = celeba.get_config()
    config[name] = value
    with pytest.raises(ValueError, match=message):
        setting_checks.check(config)
