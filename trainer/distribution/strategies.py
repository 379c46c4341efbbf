"""Devices that a run computes on, and the strategy over them."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf
from absl import logging
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.eager import context

from trainer.distribution import hosts, loopback
from trainer.distribution.cluster import Cluster

_IS_LINUX = sys.platform == "linux"
# Option numbers in malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_MAX.
_MALLOC_OPTIONS = {-1: 2**31 - 1, -2: 64 << 20, -4: 0}

_PEER_TIMEOUT_SECS = 45
_HEARTBEAT_TIMEOUT_SECS = 20

# TensorFlow cannot free a distributed iterator before the iterator's tuner next wakes.
# The wait takes up to a minute and blocks the program, so this list keeps all
# iterators: see `iterate`.
_iterators: list[Iterator] = []


def make_strategy(
    num_gpus: int | None = None,
    virtual_devices: int | None = None,
    gpu_memory_fraction: float = 1.0,
    cluster: Cluster | None = None,
) -> tf.distribute.Strategy:
    """Returns a mirrored strategy over all hosts' devices, and logs the local devices.

    Call this function once in a process, before TensorFlow touches a device: two
    mirrored strategies in one process can collide on CPU collectives.

    Args:
        num_gpus: Number of GPUs; 0 means the CPU. None means all GPUs, or the CPU if
            there is no GPU.
        virtual_devices: Number of logical devices to split the CPU into, instead of
            GPUs.
        gpu_memory_fraction: Share of each GPU's memory that TensorFlow may take.
        cluster: Hosts of the run, each with the same number of devices; None for this
            host alone.

    Raises:
        ValueError: If GPUs are missing, or a number is out of range.
        LostHostError: If another host does not answer.
    """
    devices = choose_devices(num_gpus, virtual_devices)
    gpus = tf.config.list_physical_devices("GPU")
    used = gpus[: len(devices)] if is_gpu(devices) else []
    tf.config.set_visible_devices(used, "GPU")
    if used:
        _limit_gpu_memory(used, gpu_memory_fraction)
        _keep_nccl_local(cluster)
    else:
        _keep_freed_memory()
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration() for _ in devices],
        )
    # `cluster` already holds the values of TF_CONFIG. TensorFlow would parse TF_CONFIG
    # again, and would understand some values differently.
    os.environ.pop("TF_CONFIG", None)
    if cluster is None:
        strategy = tf.distribute.MirroredStrategy(devices)
    else:
        hosts.wait_for_peers(cluster, _PEER_TIMEOUT_SECS)
        with loopback.serving(cluster):
            strategy = _multi_host_strategy(cluster, devices)
    logging.info(
        "replicas: %d; devices of this host: %s",
        strategy.num_replicas_in_sync,
        ", ".join(devices),
    )
    return strategy


def choose_devices(
    num_gpus: int | None = None, virtual_devices: int | None = None
) -> list[str]:
    """Returns the names of this host's devices to train on, without using them.

    Args:
        num_gpus: As for `make_strategy`.
        virtual_devices: As for `make_strategy`.

    Raises:
        ValueError: If GPUs are missing, or a number is out of range.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if virtual_devices is not None:
        if num_gpus:
            raise ValueError(
                f"virtual_devices={virtual_devices} trains on the CPU, but "
                f"num_gpus={num_gpus} trains on GPUs: give only one of these arguments"
            )
        if virtual_devices < 1:
            raise ValueError(f"virtual_devices={virtual_devices} must be at least 1")
        num_gpus = 0
    if num_gpus is None:
        num_gpus = len(gpus)
    if not 0 <= num_gpus <= len(gpus):
        raise ValueError(
            f"num_gpus={num_gpus} must be from 0 to {len(gpus)}, the number of GPUs "
            "that TensorFlow finds: leave the argument out to use all GPUs, or give "
            "`virtual_devices` to train on the CPU"
            + (
                ""
                if gpus
                else "; GPUs need pip install '.[gpu]' in the checkout, and "
                "TF_CPP_MIN_LOG_LEVEL=0 shows what TensorFlow misses"
            )
        )
    if num_gpus:
        return [f"GPU:{index}" for index in range(num_gpus)]
    return [f"CPU:{index}" for index in range(virtual_devices or 1)]


def is_gpu(devices: Sequence[str]) -> bool:
    """Returns whether the devices with these names are GPUs."""
    return devices[0].startswith("GPU")


def _multi_host_strategy(
    cluster: Cluster, devices: Sequence[str]
) -> tf.distribute.MultiWorkerMirroredStrategy:
    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    kind = devices[0].partition(":")[0]
    # By default, TensorFlow takes one CPU replica per host, even if the CPU is split.
    extended._initialize_local_devices = lambda self, resolver, host: (
        tuple(f"{host}/device:{device}" for device in devices),
        kind,
    )
    spec = tf.train.ClusterSpec({"worker": list(cluster.addresses)})
    # Without this service, TensorFlow notices a lost host only after a minute or more.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(
                name="worker", num_tasks=len(cluster.addresses)
            )
        ],
        cluster_register_timeout_in_ms=1000 * _PEER_TIMEOUT_SECS,
        heartbeat_timeout_in_ms=1000 * _HEARTBEAT_TIMEOUT_SECS,
    )
    return tf.distribute.MultiWorkerMirroredStrategy(
        tf.distribute.cluster_resolver.SimpleClusterResolver(
            spec,
            task_type="worker",
            task_id=cluster.index,
            num_accelerators={kind: len(devices)} if kind == "GPU" else {},
            rpc_layer="grpc",
        )
    )


def iterate(
    strategy: tf.distribute.Strategy,
    make_batches: Callable[[tf.distribute.InputContext], tf.data.Dataset],
) -> Iterator:
    """Returns an iterator over distributed batches; this process never frees it.

    A program that has opened such an iterator ends by `os._exit`. A single CPU device
    takes batches directly, because distribution would take 0.15 ms per batch.

    Args:
        strategy: Strategy from `make_strategy`.
        make_batches: Function that returns a host's per-replica batches.
    """
    is_on_gpu = "GPU" in strategy.extended.worker_devices[0]
    if strategy.num_replicas_in_sync == 1 and not is_on_gpu:
        iterator = iter(make_batches(tf.distribute.InputContext()))
    else:
        iterator = iter(strategy.distribute_datasets_from_function(make_batches))
    _iterators.append(iterator)
    return iterator


def _keep_freed_memory() -> None:
    """Makes glibc keep the memory that a step frees.

    Otherwise the next step would have to fault this memory in again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if _IS_LINUX else None
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)


def _limit_gpu_memory(
    gpus: list[tf.config.PhysicalDevice], memory_fraction: float
) -> None:
    check_memory_fraction(memory_fraction)
    if memory_fraction == 1:
        return
    for gpu, total in zip(gpus, gpu_memory_mib(), strict=False):
        limit = tf.config.LogicalDeviceConfiguration(int(total * memory_fraction))
        tf.config.set_logical_device_configuration(gpu, [limit])


def _keep_nccl_local(cluster: Cluster | None) -> None:
    """Makes NCCL listen on the loopback, if all devices belong to this machine."""
    if cluster is None or cluster.loopback is not None:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")


def check_memory_fraction(memory_fraction: float) -> None:
    """Checks the share of each GPU's memory that TensorFlow may take.

    Raises:
        ValueError: If the share is not above 0 and at most 1.
    """
    if not 0 < memory_fraction <= 1:
        raise ValueError(
            f"config.gpu_memory_fraction={memory_fraction} must be above 0 and at "
            "most 1"
        )


def gpu_memory_mib() -> list[int]:
    """Returns the memory of each GPU in MiB, as `nvidia-smi` reports it.

    Raises:
        ValueError: If `nvidia-smi` is missing; TensorFlow itself does not report
            memory.
    """
    command = [
        "nvidia-smi",
        "--query-gpu=memory.total",
        "--format=csv,noheader,nounits",
    ]
    if shutil.which(command[0]) is None:
        raise ValueError(
            "`config.gpu_memory_fraction` below 1 needs nvidia-smi on the PATH, which "
            "reports the memory of a GPU"
        )
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(line) for line in output.split()]
