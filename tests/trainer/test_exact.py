import numpy as np
import pytest
import tensorflow as tf

from trainer import exact


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


def test_a_batch_that_cannot_be_cut_is_an_error() -> None:
    with exact.scope(4), pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        exact.split_groups(tf.range(6.0))


def test_by_group_sums_gradients_in_float64() -> None:
    # In float32 the sum 2^25 + 1 + 1 + … would lose every 1.
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
