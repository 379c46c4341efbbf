"""CelebA's official files as Parquet, in the forms found on Hugging Face."""

import dataclasses
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pipeline import sources
from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES, LANDMARK_NAMES

SPLITS = ("train", "valid", "test")
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@dataclasses.dataclass
class Faces:
    """The content of the official files, which a test can change and then write."""

    images: dict[str, bytes]
    split_of: dict[str, str]
    attributes: dict[str, dict[str, int]]
    landmarks: dict[str, dict[str, int]]

    def keys(self, split: str) -> list[str]:
        return [key for key, its_split in self.split_of.items() if its_split == split]

    def columns(self, keys: Sequence[str]) -> dict[str, Any]:
        """Returns the columns of some images, in the form of most data sets."""
        cells = [{"bytes": self.images[key], "path": key} for key in keys]
        columns: dict[str, Any] = {"image": pa.array(cells, IMAGE)}
        columns["celeb_id"] = pa.array([int(key[:6]) % 7 for key in keys], pa.int64())
        for name in next(iter(self.attributes.values())):
            cells = [self.attributes[key][name] > 0 for key in keys]
            columns[name] = pa.array(cells, pa.bool_())
        for name in next(iter(self.landmarks.values())):
            cells = [self.landmarks[key][name] for key in keys]
            columns[name] = pa.array(cells, pa.int64())
        return columns

    def write(
        self,
        root: pathlib.Path,
        name: str = "data/{split}-{number:05d}-of-{total:05d}.parquet",
        *,
        num_files: int = 1,
        splits: Sequence[str] = SPLITS,
        changed: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda same: same,
        **options: Any,
    ) -> pathlib.Path:
        """Writes the files of all splits, and returns their root."""
        for split, its_name in zip(SPLITS, splits, strict=True):
            keys = self.keys(split)
            for number in range(num_files):
                path = root / name.format(
                    split=its_name, number=number, total=num_files
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                start = len(keys) * number // num_files
                part = keys[start : len(keys) * (number + 1) // num_files]
                table = pa.table(dict(changed(self.columns(part))))
                parquet.write_table(table, path, **options)
        return root


def read_official(root: pathlib.Path) -> Faces:
    """Returns the content of the files that `pipeline.synthesize` wrote."""

    def rows_of(name: str) -> dict[str, dict[str, int]]:
        _, header, *lines = (root / "Anno" / name).read_text().splitlines()
        cells = [line.split() for line in lines]
        return {
            key: dict(zip(header.split(), map(int, rest), strict=True))
            for key, *rest in cells
        }

    with zipfile.ZipFile(root / "img_align_celeba.zip") as archive:
        images = {pathlib.Path(n).name: archive.read(n) for n in archive.namelist()}
    lines = (root / "Eval/list_eval_partition.txt").read_text().splitlines()
    return Faces(
        images=images,
        split_of={key: SPLITS[int(n)] for key, n in map(str.split, lines)},
        attributes=rows_of("list_attr_celeba.txt"),
        landmarks=rows_of("list_landmarks_align_celeba.txt"),
    )


def list_celeba(root) -> sources.Listing:
    return sources.list_images("celeba", str(root))


def as_integers(low: int, kind: pa.DataType):
    def change(columns):
        for name in ATTRIBUTE_NAMES:
            values = [1 if value.as_py() else low for value in columns[name]]
            columns[name] = pa.array(values, kind)
        return columns

    return change


def as_struct(columns):
    for whole, names in (
        ("attributes", ATTRIBUTE_NAMES),
        ("landmarks", LANDMARK_NAMES),
    ):
        parts = [columns.pop(name) for name in names]
        columns[whole] = pa.StructArray.from_arrays(parts, names)
    return columns
