"""MNIST in each of its file forms, with random digits."""

import dataclasses
import gzip
import io
import pathlib
import struct

import numpy as np
import pytest
from PIL import Image

from pipeline import contract, sources
from pipeline.formats import records

PREFIXES = {"train": "train", "test": "t10k"}
FORMS = ("idx", "gz", "npz", "tfds")


@dataclasses.dataclass
class Mnist:
    """A small data set that a test can change and then write."""

    pixels: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]

    def write(self, root: pathlib.Path, form: str = "idx") -> pathlib.Path:
        root.mkdir(parents=True, exist_ok=True)
        if form in ("idx", "gz"):
            self._write_idx(root, form)
        elif form == "npz":
            write_npz(root / "mnist.npz", **self.arrays())
        else:
            self._write_tfds(root)
        return root

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            f"{letter}_{split}": values[split]
            for letter, values in (("x", self.pixels), ("y", self.labels))
            for split in PREFIXES
        }

    def _write_idx(self, root: pathlib.Path, form: str) -> None:
        for split, prefix in PREFIXES.items():
            for name, values in (
                ("images-idx3-ubyte", self.pixels[split]),
                ("labels-idx1-ubyte", self.labels[split]),
            ):
                data = idx_bytes(values)
                if form == "gz":
                    (root / f"{prefix}-{name}.gz").write_bytes(gzip.compress(data))
                else:
                    (root / f"{prefix}-{name}").write_bytes(data)

    def _write_tfds(self, root: pathlib.Path) -> None:
        (root / "dataset_info.json").write_text("{}")
        for split in PREFIXES:
            examples = list(zip(self.pixels[split], self.labels[split], strict=True))
            middle = len(examples) // 2
            for index, shard in enumerate((examples[:middle], examples[middle:])):
                path = root / f"mnist-{split}.tfrecord-{index:05d}-of-00002"
                write_records(path, [example(*values) for values in shard])


def idx_bytes(values: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, values.ndim])
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return head + sizes + values.astype(np.uint8).tobytes()


def write_npz(path: pathlib.Path, **values: np.ndarray) -> pathlib.Path:
    np.savez(path, **values)
    return path


def write_records(path: pathlib.Path, encoded: list[bytes]) -> None:
    parts = [part for record in encoded for part in records.frame(record)]
    path.write_bytes(b"".join(parts))


def example(pixels: np.ndarray, label: int | None, name: str = "image") -> bytes:
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    feature = (message := proto.Example()).features.feature
    feature[name].bytes_list.value.append(png(pixels))
    if label is not None:
        feature["label"].int64_list.value.append(label)
    return message.SerializeToString()


def png(pixels: np.ndarray) -> bytes:
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def list_mnist(root, **settings) -> sources.Listing:
    return sources.list_images("mnist", str(root), settings)


def fails(root, match: str, **settings) -> None:
    with pytest.raises(contract.DatasetError, match=match) as error:
        list_mnist(root, **settings)
    assert "\n" not in str(error.value)
