"""Arithmetic whose result does not depend on the number of devices.

A sum of floats depends on its order, and a convolution's rounding on the size of
its batch. One rounding that differs flips a ReLU somewhere, and Adam's first steps
make a visible change of loss out of it (measured: 2.4e-4 relative after one step,
1e-2 after fifty, with an ordinary synchronised batch norm). So here

* the global batch is cut into a fixed number of *groups*, whatever the number of
  replicas, and every kernel that mixes examples or blocks them by batch size runs
  on one group at a time;
* every sum over groups is made in float64. A float64 sum of a few float32 values
  is exact unless their exponents lie 2^29 apart, so its order does not matter;
* no tensor below float64 gets more than two gradients. TensorFlow adds them by one
  `AddN`, whose order follows the moment: it begins with whichever input's memory is
  free. A sum of two is the same in both orders. A tensor with more uses goes through
  `branch`.

A replica holds an equal share of the groups. With the same groups, one device and
many compute the same bits.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from trainer.numerics import threads


def configure(num_threads: int = threads.NUM_THREADS) -> None:
    """Makes TensorFlow itself reproducible; to be called before any graph is built.

    Besides deterministic kernels this needs the graph optimizer to leave arithmetic
    alone: with one group to a replica there is less to concatenate, it then rewrites
    a gradient in another way, and the last bit differs.

    Args:
        num_threads: Threads by which a kernel on the CPU splits its work. A kernel that
            sums gives each thread a part, so this number decides the rounding. The
            default is the same on every machine; TensorFlow's own is the number of
            cores that the process may use.

    Raises:
        ValueError: If there is no thread.
    """
    if num_threads < 1:
        raise ValueError(f"--num_threads={num_threads} must be at least 1")
    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


@dataclasses.dataclass(frozen=True)
class _Scope:
    num_local_groups: int = 1
    weights: Mapping[int, tf.Tensor] = dataclasses.field(default_factory=dict)
    # Joined tensors by their ids, each with the groups that it was joined from.
    joined: dict[int, tuple[tf.Tensor, Sequence[tf.Tensor]]] = dataclasses.field(
        default_factory=dict
    )


# A strategy traces each replica in a thread of its own.
_active = threading.local()


def _scope() -> _Scope:
    return getattr(_active, "scope", None) or _Scope()


@contextlib.contextmanager
def scope(
    num_local_groups: int, variables: Sequence[keras.Variable] = ()
) -> Iterator[list[tf.Tensor]]:
    """Runs the layers of `trainer.models.layers` group by group.

    Args:
        num_local_groups: Groups that this replica's batch is cut into.
        variables: Weights to differentiate by.

    Yields:
        A tensor for each variable, which the layers use in its place. Gradients by
        these are float64, and the sums over groups in them too.
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
    """Returns whether the whole global batch is one group, on one replica."""
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return _scope().num_local_groups == num_replicas == 1


def split_groups(x: tf.Tensor) -> Sequence[tf.Tensor]:
    """Cuts `[batch, ...]` into the active scope's groups, or has them from `join`."""
    scope = _scope()
    if scope.num_local_groups == 1:
        return [x]
    _, groups = scope.joined.get(id(x), (x, None))
    return groups or tf.split(x, scope.num_local_groups)


def join(groups: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns `[batch, ...]` of the active scope's groups.

    They are kept beside it, so that what goes on group by group copies nothing: a
    graph leaves out what nobody needs, and so this.
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

    Where each replica holds a multiple of `num_slices` groups, the slices `index` of
    all replicas are together the same examples on any number of replicas.

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
        function: Maps `[group, ...]` and weights to `[group, ...]`.
        x: `[batch, ...]` float.
        weights: Of any float type; each group gets a copy of `x`'s type, whose
            gradients are summed in float64.
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
    """Returns `x` for some of its uses, whose gradients are added by themselves.

    The gradient of all uses together has a fixed order then: first the sum over the
    uses of the result, then that sum and the gradients of the other uses of `x`.
    """
    return tf.identity(x)


def fan_out(weight: tf.Tensor, dtype: tf.DType, num: int) -> Sequence[tf.Tensor]:
    """Returns `num` copies in `dtype`, whose gradient is their float64 sum."""

    # The cast is in here, since the gradient of one outside would round the sum.
    @tf.custom_gradient
    def fan_out(weight: tf.Tensor):
        def gradient(*by_copy: tf.Tensor) -> tf.Tensor:
            return tf.add_n([tf.cast(part, tf.float64) for part in by_copy])

        copy = tf.cast(weight, dtype)
        return [tf.identity(copy) for _ in range(num)], gradient

    return fan_out(weight)


def sum_over_replicas(x: tf.Tensor) -> tf.Tensor:
    """Returns the sum of `x` over all replicas; `x` itself outside a replica."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)
