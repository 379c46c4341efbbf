"""Draws faces with their labels, in order, in any number of processes."""

import contextlib
import dataclasses
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing import connection, resource_tracker

from pipeline.contract import DatasetError
from pipeline.jobs import worker
from pipeline.process import interrupts, limits
from pipeline.synthetic.attributes import list_attributes
from pipeline.synthetic.face import draw_jpeg, list_landmarks
from pipeline.synthetic.factors import FACTOR_NAMES, sample_factors

_CHUNK_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One image with its labels, as the files of the dataset hold them."""

    name: str
    jpeg: bytes
    attributes: tuple[int, ...]
    landmarks: tuple[int, ...]
    factors: tuple[float | int | str, ...]


def image_name(index: int) -> str:
    """Returns the file name of an image; the first name is `000001.jpg`."""
    return f"{index + 1:06d}.jpg"


def draw_example(index: int, seed: int) -> Drawing:
    """Returns one image with its labels, a pure function of (seed, index)."""
    factors = sample_factors(seed, index)
    return Drawing(
        name=image_name(index),
        jpeg=draw_jpeg(factors),
        attributes=list_attributes(factors),
        landmarks=list_landmarks(factors),
        factors=tuple(getattr(factors, name) for name in FACTOR_NAMES),
    )


@contextlib.contextmanager
def draw_all(
    num_images: int, seed: int, num_workers: int
) -> Iterator[Iterator[Drawing]]:
    """Yields an iterator of the drawings in order of their index.

    Args:
        num_images: Number of drawings.
        seed: Seed of the faces.
        num_workers: Number of processes that draw. With 1, this process draws alone.

    Raises:
        DatasetError: If a process is killed. The iterator raises it.
    """
    starts = range(0, num_images, _CHUNK_IMAGES)
    chunks = [range(s, min(s + _CHUNK_IMAGES, num_images)) for s in starts]
    num_workers = min(num_workers, len(chunks))
    if num_workers == 1:
        yield (draw_example(index, seed) for chunk in chunks for index in chunk)
        return
    # Spawn processes instead of forking: the caller may have threads.
    context = multiprocessing.get_context("spawn")
    # Otherwise the first process start would start the tracker, which unblocks Ctrl-C
    # inside `hidden_from_children`.
    resource_tracker.ensure_running()
    with contextlib.ExitStack() as stack:
        readers = []
        for number in range(num_workers):
            reader, writer = context.Pipe(duplex=False)
            readers.append(stack.enter_context(reader))
            process = context.Process(
                target=_draw_chunks,
                args=(writer, chunks[number::num_workers], seed),
                daemon=True,
            )
            with writer, interrupts.hidden_from_children():
                process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
        yield _in_order(readers, len(chunks))


def _in_order(
    readers: Sequence[connection.Connection], num_chunks: int
) -> Iterator[Drawing]:
    """Yields the workers' drawings; each worker waits until its chunk is read."""
    for number in range(num_chunks):
        try:
            yield from readers[number % len(readers)].recv()
        except EOFError as error:
            raise DatasetError(
                "a drawing process was killed, perhaps because memory was short: "
                "make the same call again, with fewer `num_workers`"
            ) from error


def _draw_chunks(
    results: connection.Connection, chunks: Sequence[range], seed: int
) -> None:
    limits.prepare()
    worker.end_with_parent()
    for chunk in chunks:
        drawn = [draw_example(index, seed) for index in chunk]
        # The pipe has no reader once the parent is gone.
        with contextlib.suppress(BrokenPipeError):
            results.send(drawn)
