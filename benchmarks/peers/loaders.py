"""Loads training images with other libraries: shuffled, float32 in [-1, 1].

    python benchmarks/peers/loaders.py --loader=torch_jpeg --data=DIR

Needs PyTorch, grain, array_record and Pillow. DIR holds `files/*.jpg` and
`images.npy`, `[n, 128, 128, 3]` uint8, the same images cropped and resized.
"""

# pyright: reportMissingImports=false

import argparse
import pathlib
import time
from collections.abc import Iterable

import grain
import numpy as np
import torch
from array_record.python import array_record_module
from PIL import Image
from torch.utils.data import DataLoader, Dataset

_SIZE = 128


class JpegImages(Dataset):
    """Image files, cropped and resized on reading."""

    def __init__(self, data: pathlib.Path) -> None:
        """Lists the files."""
        self._paths = sorted((data / "files").glob("*.jpg"))

    def __len__(self) -> int:
        """Returns the number of files."""
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Returns one image, `[3, 128, 128]`."""
        image = Image.open(self._paths[index])
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        pixels = np.array(image.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


class ArrayImages(Dataset):
    """Rows of an array on the disk; a batch is read at once."""

    def __init__(self, data: pathlib.Path) -> None:
        """Opens the array."""
        self._images = np.load(data / "images.npy", mmap_mode="r")

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Returns one image, `[128, 128, 3]`."""
        return torch.from_numpy(self._images[index].astype(np.float32)) / 127.5 - 1

    def __getitems__(self, indices: list[int]) -> torch.Tensor:
        """Returns a batch of images, `[n, 128, 128, 3]`."""
        images = torch.from_numpy(self._images[np.sort(indices)])
        return images.float().div_(127.5).sub_(1)


def torch_batches(dataset: Dataset, workers: int, batch_size: int) -> Iterable:
    """Returns the batches of one epoch."""
    has_batches = isinstance(dataset, ArrayImages)
    return DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
        collate_fn=(lambda batch: batch) if has_batches else None,
    )


def grain_batches(data: pathlib.Path, workers: int, batch_size: int) -> Iterable:
    """Returns endless batches from an ArrayRecord file, which is made if absent."""
    path = data / "images.array_record"
    if not path.exists():
        writer = array_record_module.ArrayRecordWriter(
            str(path), "group_size:1,uncompressed"
        )
        for image in np.load(data / "images.npy", mmap_mode="r"):
            writer.write(image.tobytes())
        writer.close()

    def parse(record: bytes) -> np.ndarray:
        stored = np.frombuffer(record, np.uint8).reshape(_SIZE, _SIZE, 3)
        return stored.astype(np.float32) / 127.5 - 1

    batches = (
        grain.MapDataset.source(grain.sources.ArrayRecordDataSource([str(path)]))
        .shuffle(seed=0)
        .repeat()
        .map(parse)
        .batch(batch_size, drop_remainder=True)
        .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    )
    if workers:
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(workers))
    return batches


def main() -> None:
    """Reads for some seconds, and prints the images per second."""
    parser = argparse.ArgumentParser()
    loaders = ["torch_jpeg", "torch_arrays", "grain"]
    parser.add_argument("--loader", choices=loaders, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    if args.loader == "grain":
        epoch = grain_batches(args.data, args.workers, args.batch_size)
    else:
        kinds = {"torch_jpeg": JpegImages, "torch_arrays": ArrayImages}
        dataset = kinds[args.loader](args.data)
        epoch = torch_batches(dataset, args.workers, args.batch_size)
    num_batches, start_seconds, seconds = -2, time.monotonic(), 0.0
    while seconds < args.seconds:
        for _ in epoch:
            num_batches += 1
            if num_batches == 0:  # Skip two batches: workers start, files are cold.
                start_seconds = time.monotonic()
            seconds = time.monotonic() - start_seconds
            if num_batches > 0 and seconds >= args.seconds:
                break
    print(f"{num_batches * args.batch_size / seconds:.1f} images a second")


if __name__ == "__main__":
    main()
