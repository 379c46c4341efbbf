"""Measures the limit: the rate of processes that only decode, crop and resize."""

import io
import itertools
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

from PIL import Image

from benchmarks import inputs

_NUM_IMAGES = 2000
_SECONDS = 5.0
_CHUNK = 100


def images_per_second(
    decode: Callable[[bytes], Image.Image],
    input_dir: str,
    num_processes: int,
    image_size: int,
) -> float:
    """Returns the rate of decode, crop and resize alone, over all processes."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(num_processes)
    with context.Pool(num_processes, _set_barrier, (barrier,)) as pool:
        tasks = [
            pool.apply_async(_decode_alone, (decode, input_dir, image_size))
            for _ in range(num_processes)
        ]
        return sum(task.get() for task in tasks)


def decode_with_pillow(data: bytes) -> Image.Image:
    """Returns the square in the centre of an image, decoded by Pillow."""
    image = Image.open(io.BytesIO(data))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def resize(image: Image.Image, image_size: int) -> Image.Image:
    """Returns an image of `image_size` times `image_size` pixels."""
    return image.resize((image_size, image_size), resample=Image.Resampling.BILINEAR)


def _set_barrier(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


_barrier: Barrier | None = None


def _decode_alone(
    decode: Callable[[bytes], Image.Image], input_dir: str, image_size: int
) -> float:
    images = itertools.islice(inputs.read(input_dir), _NUM_IMAGES)
    data = [content for _, _, content, _ in images]
    assert _barrier is not None
    _barrier.wait()
    start_seconds = time.monotonic()
    num_images = 0
    while (seconds := time.monotonic() - start_seconds) < _SECONDS:
        for content in data[:_CHUNK]:
            resize(decode(content), image_size)
        num_images += len(data[:_CHUNK])
        data = data[_CHUNK:] + data[:_CHUNK]
    rate = num_images / seconds
    _barrier.wait()
    return rate
