import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from tests.trainer.trained_runs import SMALL, Run, start_training, stop_at_step, train
from trainer.numerics import exact


def test_outside_a_scope_there_is_one_group() -> None:
    x = tf.range(6.0)
    assert len(exact.split_groups(x)) == 1
    variable = tf.keras.Variable([1.0])
    assert exact.weight(variable) is variable.value


def test_a_scope_cuts_the_batch_and_ends() -> None:
    with exact.scope(3):
        sizes = [group.shape[0] for group in exact.split_groups(tf.range(6.0))]
        assert sizes == [2, 2, 2]
        with exact.scope(2):
            assert len(exact.split_groups(tf.range(6.0))) == 2
        assert len(exact.split_groups(tf.range(6.0))) == 3
    assert len(exact.split_groups(tf.range(6.0))) == 1


def test_joined_groups_are_not_cut_again() -> None:
    with exact.scope(2):
        groups = [tf.constant([1.0]), tf.constant([2.0])]
        whole = exact.join(groups)
        np.testing.assert_array_equal(whole, [1.0, 2.0])
        first, second = exact.split_groups(whole)
        assert first is groups[0]
        assert second is groups[1]
        with exact.scope(1):
            [only] = exact.split_groups(whole)
            assert only is whole


def test_a_batch_that_cannot_be_cut_is_an_error() -> None:
    with exact.scope(4), pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        exact.split_groups(tf.range(6.0))


def test_by_group_sums_gradients_in_float64() -> None:
    # A float32 sum of 2^25 + 1 + 1 + … would lose every 1.
    weight = tf.keras.Variable([1.0])
    x = tf.constant([[2.0**25], [1.0], [1.0], [1.0]])
    with exact.scope(4, [weight]) as (read,), tf.GradientTape() as tape:
        tape.watch(read)
        outputs = exact.by_group(lambda x, w: x * w, x, exact.weight(weight))
    np.testing.assert_array_equal(outputs, x)
    gradient = tape.gradient(outputs, read)
    assert gradient.dtype == tf.float64
    np.testing.assert_array_equal(gradient, [2.0**25 + 3])


def test_outside_replicas_a_sum_over_replicas_is_the_value() -> None:
    assert float(exact.sum_over_replicas(tf.constant(3.0))) == 3.0


# Flags that change the arithmetic of a step, all at once.
FLAGS = (
    *SMALL,
    "--config.precision=mixed_float16",
    "--config.loss_scale_growth_steps=1",
    "--config.gradient_accumulation_steps=2",
    "--config.num_batch_groups=8",
    "--config.gradient_clip_norm=0.1",
    "--config.learning_rate_warmup_steps=3",
    "--config.learning_rate_schedule=cosine",
    "--config.num_train_steps=10",
    "--config.checkpoint_every_secs=0",
)


@pytest.mark.slow
def test_a_run_killed_on_two_devices_goes_on_alike_on_four(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    expected = train(dataset_dir, tmp_path / "one", *FLAGS, "--virtual_devices=1")
    assert expected.returncode == 0, expected.output
    process = start_training(
        dataset_dir, tmp_path / "run", *FLAGS, "--virtual_devices=2"
    )
    killed = stop_at_step(process, tmp_path / "run", 5, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert 5 <= max(killed.metrics()) < 10
    resumed = train(dataset_dir, tmp_path / "run", *FLAGS, "--virtual_devices=4")
    assert resumed.returncode == 0, resumed.output
    assert "resuming at step" in resumed.output
    assert resumed.metrics() == expected.metrics()
    assert resumed.metrics("validation") == expected.metrics("validation")
    norms = [line.get("gradient_norm") for line in expected.metrics().values()]
    assert None in norms, "the growing scale makes a gradient overflow"
    assert max(filter(None, norms)) > 0.1, "some gradients are clipped"
    assert_same_states(expected, resumed)


@pytest.mark.slow
def test_a_run_of_one_group_goes_on_alike(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    # With one group, batch norm is TensorFlow's fused operation.
    flags = (*SMALL, "--config.num_batch_groups=1", "--config.num_train_steps=10")
    expected = train(dataset_dir, tmp_path / "whole", *flags)
    assert expected.returncode == 0, expected.output
    begun = train(dataset_dir, tmp_path / "run", *flags, "--config.num_train_steps=4")
    assert begun.returncode == 0, begun.output
    resumed = train(dataset_dir, tmp_path / "run", *flags)
    assert "resuming at step 4" in resumed.output
    assert resumed.metrics() == expected.metrics()
    assert_same_states(expected, resumed)


def assert_same_states(*runs: Run) -> None:
    states = [
        load_file(run.workdir / "checkpoints/step-000000010/state.safetensors")
        for run in runs
    ]
    assert set(states[0]) == set(states[1])
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name], states[1][name], err_msg=name)
