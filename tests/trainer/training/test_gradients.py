"""Accumulation and clipping of gradients: their effects, and values they preserve."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.small_steps import BATCH, BATCH_SIZE, make_small_run
from tests.trainer.trained_runs import ROOT
from trainer.numerics import exact


def test_a_slice_is_the_same_groups_on_any_number_of_replicas() -> None:
    x = tf.reshape(tf.range(24), [12, 2])
    whole = [exact.take_slice(x, index, 2, 4).numpy() for index in range(2)]
    np.testing.assert_array_equal(whole[0][:, 0] // 2, [0, 1, 2, 6, 7, 8])
    np.testing.assert_array_equal(whole[1][:, 0] // 2, [3, 4, 5, 9, 10, 11])
    for index in range(2):
        shares = [exact.take_slice(half, index, 2, 2) for half in tf.split(x, 2)]
        np.testing.assert_array_equal(tf.concat(shares, axis=0), whole[index])


@pytest.mark.parametrize(
    ("precision", "num_slices"), [("float32", 4), ("mixed_float16", 2)]
)
def test_without_batch_norm_slices_change_no_bit(
    precision: str, num_slices: int
) -> None:
    whole, sliced = (
        make_small_run(
            batch_norm=False,
            precision=precision,
            num_batch_groups=num_slices,
            gradient_accumulation_steps=num,
        )
        for num in (1, num_slices)
    )
    metrics, _ = whole.train(3)
    assert metrics["gradient_norm"] > 0
    assert sliced.train(3)[0] == metrics
    expected = whole.arrays()
    for name, array in sliced.arrays().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_batch_norm_takes_the_statistics_of_a_slice() -> None:
    momentum = 0.75
    run = make_small_run(
        gradient_accumulation_steps=2,
        batch_norm_momentum=momentum,
        batch_norm_warmup=False,
    )
    convolve = run.state.vae.encoder.get_layer("conv_0")
    activations = [
        convolve(exact.take_slice(tf.constant(BATCH["image"]), index, 2, 2))
        for index in range(2)
    ]
    run.train(1)
    expected = 0.0
    for activation in activations:
        mean = activation.numpy().mean(axis=(0, 1, 2))
        expected = momentum * expected + (1 - momentum) * mean
    moving = run.state.vae.encoder.get_layer("conv_0_norm").moving_mean
    np.testing.assert_allclose(moving, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.25, 0.99])
def test_the_momentum_of_batch_norm_warms_up(momentum: float) -> None:
    run = make_small_run(batch_norm_momentum=momentum)
    convolve = run.state.vae.encoder.get_layer("conv_0")
    norm = run.state.vae.encoder.get_layer("conv_0_norm")
    expected = 0.0, 1.0
    for num_updates in range(5):
        values = convolve(tf.constant(BATCH["image"])).numpy()
        run.train(1)
        limit = min(momentum, (1 + num_updates) / (10 + num_updates))
        expected = tuple(
            limit * moving + (1 - limit) * batch
            for moving, batch in zip(
                expected,
                (values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))),
                strict=True,
            )
        )
        for actual, value in zip(
            (norm.moving_mean, norm.moving_variance), expected, strict=True
        ):
            np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-6)


def test_the_warm_up_ends_without_a_trace() -> None:
    """After 900 updates the weights are the bits of a fixed momentum of 0.99."""
    runs = [make_small_run(batch_norm_warmup=is_warm) for is_warm in (True, False)]
    for run in runs:
        run.state.step.assign(900)
        run.train(2)
    warm, fixed = (run.arrays() for run in runs)
    for name, array in warm.items():
        np.testing.assert_array_equal(array, fixed[name], err_msg=name)


# The gradients of the groups have very different sizes, and half of the channels have a
# mean far above their deviation. So a rounding of a part of a sum becomes visible.
_BATCH_NORM = """
import sys
import numpy as np, tensorflow as tf
from trainer.models.batch_norm import BatchNormalization
from trainer.numerics import exact

num_replicas = int(sys.argv[1])
[cpu] = tf.config.list_physical_devices("CPU")
device = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, num_replicas * [device])
exact.configure()
rng = np.random.default_rng(0)
groups = rng.normal(size=(2, 4, 3, 1, 1, 512))
sizes = np.array([1e3, 1.0, 1e-3, 1e-6]).reshape(4, 1, 1, 1, 1)
means = np.where(np.arange(512) % 2, 0, 1e4)
x, dy = (part.astype(np.float32).reshape(-1, 1, 1, 512)
         for part in (means + groups[0], sizes * groups[1]))

def gradients(x, dy):
    weights = [layer.gamma, layer.beta]
    with exact.scope(4 // num_replicas, weights) as read, tf.GradientTape() as tape:
        tape.watch(read)
        loss = tf.reduce_sum(layer(x, training=True) * dy)
    return tape.gradient(loss, read)

devices = [f"CPU:{index}" for index in range(num_replicas)]
strategy = tf.distribute.MirroredStrategy(devices)
with strategy.scope():
    layer = BatchNormalization()
    layer.build(x.shape)

@tf.function(autograph=False)
def total():
    def share(whole):
        parts = tf.split(whole, num_replicas)
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group])
    of_replicas = strategy.run(gradients, (share(x), share(dy)))
    return [strategy.reduce("SUM", each, axis=None) for each in of_replicas]

gamma, beta = total()
mean, variance = layer.moving_mean, layer.moving_variance
for values in (gamma, beta, tf.constant(mean), tf.constant(variance)):
    print(values.numpy().tobytes().hex())
"""


def test_batch_norm_has_the_same_bits_on_any_number_of_replicas() -> None:
    gradients_and_statistics = [
        subprocess.run(
            [sys.executable, "-c", _BATCH_NORM, str(num_replicas)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for num_replicas in (1, 2, 4)
    ]
    one, two, four = gradients_and_statistics
    assert [len(values) for values in one] == [8192, 8192, 4096, 4096]
    assert [a == b for a, b in zip(one, two, strict=True)] == [True] * 4
    assert [a == b for a, b in zip(one, four, strict=True)] == [True] * 4


# Peak memory covers the whole process so far, so the run that needs less comes first.
_MEASURE = """
import pathlib, re, sys
import numpy as np, tensorflow as tf
from tests.trainer import small_steps

def peak_mib():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024

small_steps.SHAPE = (64, 64, 3)
small_steps.BATCH_SIZE = 256
small_steps.BATCH = {
    "image": np.zeros((256, 64, 64, 3), np.float32),
    "record_id": np.arange(256),
}
small_steps.MANIFEST.features["image"] = small_steps.contract.Feature(
    "float32", (64, 64, 3)
)
for num_slices in (8, 1):
    run = small_steps.make_small_run(
        gradient_accumulation_steps=num_slices,
        num_batch_groups=8,
        encoder_filters=(64,),
        decoder_filters=(64,),
        base_size=32,
    )
    run.train(0)  # Compiles.
    if num_slices == 8:
        before = peak_mib()
    run.train(1)
    print(peak_mib() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not pathlib.Path("/proc/self/status").exists(), reason="needs Linux's /proc"
)
def test_slices_cut_the_peak_of_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    sliced, whole = map(float, done.stdout.split())
    assert sliced < whole / 2, f"{sliced:.0f} MiB, and {whole:.0f} at once"


def first_moments(**changes) -> tuple[np.ndarray, dict]:
    """Returns Adam's first moments after one step (half the gradient), and metrics."""
    run = make_small_run(adam_beta_1=0.5, **changes)
    metrics, _ = run.train(1)
    moments = [
        variable.numpy().ravel()
        for variable in run.state.optimizer.variables
        if "momentum" in variable.path
    ]
    return np.concatenate(moments), metrics


def test_longer_gradients_are_cut_to_the_norm_and_keep_their_direction() -> None:
    short, metrics = first_moments(gradient_clip_norm=1e9)
    norm = metrics["gradient_norm"]
    assert np.linalg.norm(short) == pytest.approx(norm / 2, rel=1e-5)
    clipped, clipped_metrics = first_moments(gradient_clip_norm=norm / 10)
    assert clipped_metrics == metrics, "metrics are those before clipping"
    np.testing.assert_allclose(clipped, short / 10, rtol=1e-5, atol=1e-12)


def test_clipping_comes_after_the_loss_scale() -> None:
    clipped, metrics = first_moments(gradient_clip_norm=1e-3, precision="mixed_float16")
    assert metrics["gradient_norm"] > 1e-3
    assert np.linalg.norm(clipped) == pytest.approx(1e-3 / 2, rel=1e-5)


@pytest.fixture(scope="module")
def of_mean() -> tuple[np.ndarray, dict]:
    """Returns the first moments and metrics of a loss that is a mean."""
    return first_moments(batch_norm=False)


def test_the_gradient_of_a_sum_is_that_of_a_mean_times_the_batch_size(
    of_mean: tuple[np.ndarray, dict],
) -> None:
    # Both runs start from the same weights and noise. A batch of 8 makes the factor a
    # power of two, so it rounds nothing.
    assert BATCH_SIZE == 8
    mean, mean_metrics = of_mean
    total, total_metrics = first_moments(batch_norm=False, loss_reduction="sum")
    assert np.abs(mean).max() > 0
    np.testing.assert_array_equal(total, 8 * mean)
    assert total_metrics["gradient_norm"] == 8 * mean_metrics["gradient_norm"]
    # The other metrics are means over the batch in both runs.
    for name in mean_metrics.keys() - {"gradient_norm"}:
        assert total_metrics[name] == mean_metrics[name], name


def test_clipping_sees_the_gradient_of_the_sum(
    of_mean: tuple[np.ndarray, dict],
) -> None:
    mean, metrics = of_mean
    # The limit lies between the norms of the mean and of the sum.
    clipped, _ = first_moments(
        batch_norm=False,
        loss_reduction="sum",
        gradient_clip_norm=2 * metrics["gradient_norm"],
    )
    np.testing.assert_allclose(clipped, 2 * mean, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("reduction", "factor", "rate"), [("mean", 1, 0.02), ("sum", 8, 0.01)]
)
def test_a_step_of_rmsprop_has_the_gradient_of_the_reduction(
    of_mean: tuple[np.ndarray, dict], reduction: str, factor: int, rate: float
) -> None:
    # A gradient g moves a weight by -rate * g / sqrt(0.1 g^2 + epsilon).
    epsilon = 1e-4
    gradient = factor * 2 * of_mean[0].astype(np.float64)
    assert 0.1 * np.square(gradient).max() > epsilon, "epsilon does not decide alone"
    run = make_small_run(
        batch_norm=False,
        optimizer="rmsprop",
        learning_rate=rate,
        rmsprop_epsilon=epsilon,
        loss_reduction=reduction,
    )
    weights = run.state.vae.trainable_variables
    before = [variable.numpy().copy() for variable in weights]
    run.train(1)
    steps = [
        (variable.numpy() - value).ravel()
        for variable, value in zip(weights, before, strict=True)
    ]
    expected = -rate * gradient / np.sqrt(0.1 * gradient**2 + epsilon)
    np.testing.assert_allclose(np.concatenate(steps), expected, rtol=1e-3, atol=1e-7)
