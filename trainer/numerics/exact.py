"""Arithmetic whose result does not depend on the number of devices.

A sum of floats depends on its order, and a convolution's rounding depends on its batch
size. A single different rounding flips a ReLU somewhere, and Adam's first steps turn
this flip into a visible change of the loss. With an ordinary synchronised batch norm,
the measured relative change was 2.4e-4 after one step and 1e-2 after fifty. Three rules
prevent such changes:

* The global batch is cut into a fixed number of *groups*, independent of the number of
  replicas. Every kernel that mixes examples, or blocks them by batch size, runs on one
  group at a time.
* Every sum over groups is in float64. A float64 sum of a few float32 values is exact
  unless they lie a factor of 2^29 apart, so its order does not matter. Values that use
  all digits of float64, such as products, are added in the order of the groups.
* A tensor of a smaller type than float64 gets at most two gradients, because a sum of
  two is the same in both orders. TensorFlow adds gradients with one `AddN`, whose order
  changes from run to run: `AddN` begins with an input whose memory it can reuse. A
  tensor with more uses goes through `branch`.

Each replica holds an equal share of the groups. With the same groups, one device and
many devices compute the same bits.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from trainer.numerics import threads


def configure(num_threads: int = threads.NUM_THREADS) -> None:
    """Makes TensorFlow itself reproducible; call it before building any graph.

    Reproducible results need deterministic kernels, and a graph optimizer that leaves
    arithmetic alone. With one group per replica the graph has fewer concatenations; the
    optimizer would then rewrite a gradient differently and change its last bit.

    Args:
        num_threads: Number of threads per kernel on the CPU. A kernel that sums gives
            each thread a part, so this number decides the rounding. The default is the
            same on every machine; TensorFlow's own default is the number of cores that
            the process may use.

    Raises:
        ValueError: If `num_threads` is below 1.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads={num_threads} must be at least 1")
    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


@dataclasses.dataclass(frozen=True)
class _Scope:
    num_local_groups: int = 1
    weights: Mapping[int, tf.Tensor] = dataclasses.field(default_factory=dict)
    # Each joined tensor and its groups, by the id of the tensor.
    joined: dict[int, tuple[tf.Tensor, Sequence[tf.Tensor]]] = dataclasses.field(
        default_factory=dict
    )


# A strategy traces each replica in a separate thread.
_active = threading.local()


def _scope() -> _Scope:
    return getattr(_active, "scope", None) or _Scope()


@contextlib.contextmanager
def scope(
    num_local_groups: int, variables: Sequence[keras.Variable] = ()
) -> Iterator[list[tf.Tensor]]:
    """Runs the layers of `trainer.models.layers` group by group.

    Args:
        num_local_groups: Number of groups in this replica's batch.
        variables: Weights to differentiate with respect to.

    Yields:
        A tensor for each variable; the layers use the tensor in place of the variable.
        Gradients with respect to these tensors are float64 sums over the groups.
    """
    weights = [tf.convert_to_tensor(variable.value) for variable in variables]
    previous = _scope()
    _active.scope = _Scope(
        num_local_groups,
        {
            id(variable): weight
            for variable, weight in zip(variables, weights, strict=True)
        },
    )
    try:
        yield weights
    finally:
        _active.scope = previous


def weight(variable: keras.Variable) -> tf.Tensor:
    """Returns the tensor that stands for `variable` in the active scope."""
    return _scope().weights.get(id(variable), variable.value)


def is_one_group() -> bool:
    """Returns whether the whole global batch is one group on one replica."""
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return _scope().num_local_groups == num_replicas == 1


def split_groups(x: tf.Tensor) -> Sequence[tf.Tensor]:
    """Returns the groups of `[batch, ...]`; reuses the groups that `join` remembers."""
    scope = _scope()
    if scope.num_local_groups == 1:
        return [x]
    _, groups = scope.joined.get(id(x), (x, None))
    return groups or tf.split(x, scope.num_local_groups)


def join(groups: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the concatenation `[batch, ...]` of the active scope's groups.

    The scope remembers the groups of the result, and `split_groups` returns them
    without a copy. The graph drops the concatenation if nothing else reads it.
    """
    if len(groups) == 1:
        return groups[0]
    whole = tf.concat(groups, axis=0)
    _scope().joined[id(whole)] = whole, groups
    return whole


def take_slice(
    x: tf.Tensor, index: int | tf.Tensor, num_slices: int, num_local_groups: int
) -> tf.Tensor:
    """Returns every `num_slices`-th group of `[batch, ...]`, from `index` on.

    If each replica holds a multiple of `num_slices` groups, slice `index` of all
    replicas together holds the same examples on any number of replicas.

    Example:
        >>> take_slice(tf.range(8), 1, num_slices=2, num_local_groups=4).numpy()
        array([2, 3, 6, 7], dtype=int32)
    """
    if num_slices == 1:
        return x
    shape, num_rounds = x.shape[1:], num_local_groups // num_slices
    group_size = tf.shape(x)[0] // num_local_groups
    cut = tf.reshape(x, [num_rounds, num_slices, group_size, *shape])
    return tf.reshape(cut[:, index], [num_rounds * group_size, *shape])


def by_group(
    function: Callable[..., tf.Tensor], x: tf.Tensor, *weights: tf.Tensor
) -> tf.Tensor:
    """Returns `function(x, *weights)`, computed one group at a time.

    Args:
        function: Function from `[group, ...]` and weights to `[group, ...]`.
        x: `[batch, ...]` float.
        weights: Weights of any float type. Each group gets a copy in the type of `x`;
            the gradients of the copies are summed in float64.
    """
    groups = split_groups(x)
    copies = [
        fan_out(tf.convert_to_tensor(weight), x.dtype, len(groups))
        for weight in weights
    ]
    parts = [
        function(group, *group_weights)
        for group, *group_weights in zip(groups, *copies, strict=True)
    ]
    return join(parts)


def branch(x: tf.Tensor) -> tf.Tensor:
    """Returns a copy of `x` that sums the gradients of its own uses separately.

    So the gradients of all uses are added in a fixed order: first the gradients of the
    copy's uses, and then this sum and the gradients of the other uses of `x`.
    """
    return tf.identity(x)


def fan_out(weight: tf.Tensor, dtype: tf.DType, num: int) -> Sequence[tf.Tensor]:
    """Returns `num` copies in `dtype`; their gradients are summed in float64."""

    # The custom gradient includes the cast, because the gradient of a separate cast
    # would round the sum.
    @tf.custom_gradient
    def fan_out(weight: tf.Tensor):
        def gradient(*by_copy: tf.Tensor) -> tf.Tensor:
            return tf.add_n([tf.cast(part, tf.float64) for part in by_copy])

        copy = tf.cast(weight, dtype)
        return [tf.identity(copy) for _ in range(num)], gradient

    return fan_out(weight)


def on_first_replica(total: tf.Tensor) -> tf.Tensor:
    """Returns a value for each replica whose sum over replicas is exactly `total`.

    Args:
        total: A tensor that is the same on all replicas.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return total
    is_first = context.replica_id_in_sync_group == 0
    return tf.where(is_first, total, tf.zeros_like(total))


def sum_over_groups(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the sum over all groups of the batch, added in the order of the groups.

    Values that use all digits of float64 need this: the order of their sum matters.

    Args:
        values: Value of each group of this replica, of equal shapes and float64.
    """
    groups = tf.stack(values)
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        num_replicas = context.num_replicas_in_sync
        # Adding zeros is exact, so the order of the replicas does not matter.
        is_mine = tf.one_hot(
            context.replica_id_in_sync_group, num_replicas, dtype=groups.dtype
        )
        mine = tf.tensordot(is_mine, groups, axes=0)
        groups = tf.reshape(sum_over_replicas(mine), [-1, *values[0].shape])
    return tf.reduce_sum(groups, axis=0)


def sum_over_replicas(x: tf.Tensor) -> tf.Tensor:
    """Returns the sum of `x` over all replicas; `x` itself outside a replica."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)
