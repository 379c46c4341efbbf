"""Reads the files that describe a data set that TensorFlow Datasets prepared.

    DIR/dataset_info.json     name, file format, splits, number of records in each shard
    DIR/features.json         features of a record

Only the image and the labels that `tfds_labels` finds are used.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from pipeline import contract
from pipeline.formats.tfds_files import DATASET_INFO_NAME, FEATURES_NAME
from pipeline.process import wording
from pipeline.sources.tfds import tfds_labels
from pipeline.storage import paths

_CONVERT = "tfds convert_format --out_file_format=tfrecord"
_NUM_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Info:
    """The description of a prepared data set.

    Attributes:
        root: Directory of the data set's version.
        name: Name of the data set.
        shard_lengths: Number of records in each shard, by the name of the split.
        image: Name of the image feature in a record.
        num_channels: Channels of every image, 1 or 3.
        labels: Labels by the name of our feature.
    """

    root: str
    name: str
    shard_lengths: Mapping[str, tuple[int, ...]]
    image: str
    num_channels: int
    labels: Mapping[str, tfds_labels.Label]


def find_root(path: str) -> str:
    """Returns the directory of a version: `path`, or the only version below it.

    Raises:
        DatasetError: If there is no version, or more than one.
    """
    if _is_root(path):
        return path
    if not paths.is_directory(path):
        fault = "is a file" if paths.find(path) else "does not exist"
        raise contract.DatasetError(f"input={path} {fault}: {_allowed()}")
    # A version lies one level below its data set, or two if the data set has configs.
    names = _directories(path)
    names += [
        f"{name}/{below}"
        for name in names
        for below in _directories(paths.join(path, name))
    ]
    roots = [name for name in names if _is_root(paths.join(path, name))]
    if len(roots) == 1:
        root = paths.join(path, roots[0])
        logging.info("reading %s", root)
        return root
    if not roots:
        raise contract.DatasetError(
            f"input={path} has no {DATASET_INFO_NAME}: {_allowed()}"
        )
    raise contract.DatasetError(
        f"input={path} has {len(roots)} prepared data sets, {_listed(roots)}: give "
        "the directory of one"
    )


def _is_root(path: str) -> bool:
    return paths.find(paths.join(path, DATASET_INFO_NAME)) is not None


def _directories(path: str) -> list[str]:
    return sorted(
        entry.name
        for entry in paths.list_directory(path)
        if entry.is_directory and not entry.name.startswith("incomplete.")
    )


def read_info(root: str) -> Info:
    """Returns the description of the data set in `root`, and logs unused features.

    Args:
        root: Directory that `find_root` returned.

    Raises:
        DatasetError: If the data set is not in TFRecord files, has no 8-bit image, or
            was made by `pipeline.prepare`, or a file is missing or damaged.
    """
    if paths.find(paths.join(root, contract.MANIFEST_NAME)):
        raise contract.DatasetError(
            f"input={root} is a dataset that pipeline.prepare made: train on it with "
            "`dataset`, or give its source images as `input`"
        )
    body = _read_json(root, DATASET_INFO_NAME)
    features = _read_json(root, FEATURES_NAME)
    try:
        file_format = body.get("fileFormat", "tfrecord")
        if file_format != "tfrecord":
            raise contract.DatasetError(
                f"input={root} has files of the format {file_format}, but only "
                "tfrecord can be read: prepare the data set with tfds build "
                f"--file_format=tfrecord, or convert it with {_CONVERT}"
            )
        by_name = features["featuresDict"]["features"]
        if not body["splits"]:
            raise contract.DatasetError(f"input={root} has no split: prepare it again")
        image = _choose_image(root, by_name)
        # Sizes are strings: JSON of protocol buffers writes 64-bit integers as strings.
        sizes = by_name[image]["image"]["shape"].get("dimensions", ())
        labels = tfds_labels.find(root, by_name)
        used = {image, *(label.scalars[0].split("/")[0] for label in labels.values())}
        unused = sorted(by_name.keys() - used)
        if unused:
            logging.info("unused features: %s", ", ".join(unused))
        return Info(
            root=root,
            name=str(body["name"]),
            shard_lengths={
                str(split["name"]): tuple(map(int, split["shardLengths"]))
                for split in body["splits"]
            },
            image=image,
            num_channels=1 if list(sizes)[-1:] == ["1"] else 3,
            labels=labels,
        )
    except (
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        if isinstance(error, contract.DatasetError):
            raise
        raise contract.DatasetError(
            f"{DATASET_INFO_NAME} or {FEATURES_NAME} of input={root} is not as "
            f"TensorFlow Datasets 4.5 and later write it ({type(error).__name__}: "
            f"{error}): prepare it again"
        ) from error


def _choose_image(root: str, features: Mapping[str, Any]) -> str:
    """Returns the name of a record's image: `image` if present, else the only image."""
    kinds = {name: tfds_labels.kind(feature) for name, feature in features.items()}
    names = [name for name, kind in kinds.items() if kind == "Image"]
    if not names:
        others = [f"{name} ({kind})" for name, kind in kinds.items()]
        raise contract.DatasetError(
            f"input={root} has no feature of the type Image, only {_listed(others)}: "
            "give another data set"
        )
    if len(names) > 1 and "image" not in names:
        raise contract.DatasetError(
            f"input={root} has {len(names)} images in a record, {_listed(names)}, "
            "and none is called image: give another data set"
        )
    chosen = "image" if "image" in names else names[0]
    dtype = features[chosen]["image"].get("dtype", "uint8")
    if dtype != "uint8":
        raise contract.DatasetError(
            f"input={root} has images of the type {dtype}: only uint8 can be used; "
            "give another data set"
        )
    return chosen


def _read_json(root: str, name: str) -> Any:
    path = paths.join(root, name)
    try:
        body = json.loads(paths.read_bytes(path).decode())
        # A JSON escape may stand for half a surrogate pair, which no feature name of a
        # record can contain. Encoding the text finds it.
        json.dumps(body, ensure_ascii=False).encode()
        return body
    except contract.DatasetError:
        raise
    except FileNotFoundError as error:
        raise contract.DatasetError(
            f"input={root} has no {name}: prepare it again with "
            "TensorFlow Datasets 4.5 or later"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise contract.DatasetError(
            f"cannot read {path}: {wording.cause(error)}; prepare the data set again"
        ) from error


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + more


def _allowed() -> str:
    return (
        f"give a directory that TensorFlow Datasets prepared, with {DATASET_INFO_NAME},"
        " as DATA_DIR/celeb_a/2.1.0"
    )
