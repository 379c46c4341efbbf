"""The devices that a run computes on."""

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import tensorflow as tf
from absl import logging

_IS_LINUX = sys.platform == "linux"
# By the numbers of malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_MAX.
_MALLOC_OPTIONS = {-1: 2**31 - 1, -2: 64 << 20, -4: 0}

# TensorFlow frees a distributed iterator when the tuner behind it next wakes, which
# takes up to a minute and holds up the program. So none is freed: see `iterate`.
_iterators: list[Iterator] = []


def make_strategy(
    num_gpus: int | None = None,
    virtual_devices: int | None = None,
    gpu_memory_fraction: float = 1.0,
) -> tf.distribute.Strategy:
    """Returns a mirrored strategy over this machine's devices, and logs them.

    To be called once in a process, before TensorFlow touches a device: two mirrored
    strategies in one process can collide on CPU collectives.

    Args:
        num_gpus: How many GPUs; all of them if None, and the CPU if there is none.
            0 means the CPU.
        virtual_devices: Splits the CPU into so many logical devices instead.
        gpu_memory_fraction: Share of each GPU's memory that TensorFlow may take.

    Raises:
        ValueError: If there are not so many GPUs, or a number makes no sense.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if virtual_devices is not None:
        if num_gpus:
            raise ValueError(
                f"--virtual_devices={virtual_devices} splits the CPU and --num_gpus="
                f"{num_gpus} asks for GPUs: give one of them"
            )
        if virtual_devices < 1:
            raise ValueError(f"--virtual_devices={virtual_devices} must be at least 1")
        num_gpus = 0
    if num_gpus is None:
        num_gpus = len(gpus)
    if not 0 <= num_gpus <= len(gpus):
        raise ValueError(
            f"--num_gpus={num_gpus}, and TensorFlow finds {len(gpus)} here: leave the "
            "flag out to use all, or use --virtual_devices to split the CPU"
            + (
                ""
                if gpus
                else "; GPUs need pip install 'vaeline[gpu]', and "
                "TF_CPP_MIN_LOG_LEVEL=0 shows what TensorFlow misses"
            )
        )
    tf.config.set_visible_devices(gpus[:num_gpus], "GPU")
    if num_gpus:
        _limit_gpu_memory(gpus[:num_gpus], gpu_memory_fraction)
        devices = [f"GPU:{index}" for index in range(num_gpus)]
    else:
        _keep_freed_memory()
        devices = [f"CPU:{index}" for index in range(virtual_devices or 1)]
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration() for _ in devices],
        )
    strategy = tf.distribute.MirroredStrategy(devices)
    logging.info("replicas: %d on %s", len(devices), ", ".join(devices))
    return strategy


def iterate(
    strategy: tf.distribute.Strategy,
    make_batches: Callable[[tf.distribute.InputContext], tf.data.Dataset],
) -> Iterator:
    """Returns an iterator over distributed batches, which this process never frees.

    A program that has opened one ends by `os._exit`.

    Args:
        strategy: From `make_strategy`.
        make_batches: Returns a host's per-replica batches.
    """
    iterator = iter(strategy.distribute_datasets_from_function(make_batches))
    _iterators.append(iterator)
    return iterator


def _keep_freed_memory() -> None:
    """Has glibc keep what a step frees, which the next would have to fault in again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if _IS_LINUX else None
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)


def _limit_gpu_memory(
    gpus: list[tf.config.PhysicalDevice], memory_fraction: float
) -> None:
    if not 0 < memory_fraction <= 1:
        raise ValueError(
            f"--config.gpu_memory_fraction={memory_fraction} must be above 0 and at "
            "most 1"
        )
    if memory_fraction == 1:
        return
    for gpu, total in zip(gpus, gpu_memory_mib(), strict=False):
        limit = tf.config.LogicalDeviceConfiguration(int(total * memory_fraction))
        tf.config.set_logical_device_configuration(gpu, [limit])


def gpu_memory_mib() -> list[int]:
    """Returns the memory of each GPU in MiB, as `nvidia-smi` reports it.

    Raises:
        ValueError: If `nvidia-smi` cannot be run; TensorFlow itself does not tell.
    """
    command = [
        "nvidia-smi",
        "--query-gpu=memory.total",
        "--format=csv,noheader,nounits",
    ]
    if shutil.which(command[0]) is None:
        raise ValueError(
            "--config.gpu_memory_fraction below 1 needs nvidia-smi on the PATH to "
            "know how much memory a GPU has"
        )
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(line) for line in output.split()]
