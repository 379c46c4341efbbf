"""Metadata files that let TensorFlow Datasets load a dataset directory.

This module does not import the `tensorflow_datasets` package: the import would take a
third of a second in every worker.
"""

import json
from collections.abc import Mapping
from typing import Any

from pipeline import contract

FEATURES_NAME = "features.json"
DATASET_INFO_NAME = "dataset_info.json"
# Suffix of the file that lists the class names of a label, one per line.
LABELS_SUFFIX = ".labels.txt"

# TensorFlow Datasets requires a version of the dataset.
_VERSION = "1.0.0"
_FEATURES = "tensorflow_datasets.core.features"


def file_texts(manifest: contract.Manifest) -> dict[str, str]:
    """Returns the text of each metadata file of a dataset, by file name."""
    labels = {
        f"{name}{LABELS_SUFFIX}": "".join(f"{text}\n" for text in feature.names)
        for name, feature in manifest.features.items()
        if _is_class_label(feature)
    }
    return {
        FEATURES_NAME: _features_json(manifest.features),
        DATASET_INFO_NAME: _dataset_info_json(manifest),
        **labels,
    }


def file_names(features: Mapping[str, contract.Feature]) -> list[str]:
    """Returns the names of the metadata files of a dataset with these features."""
    labels = [name for name, feature in features.items() if _is_class_label(feature)]
    return [
        FEATURES_NAME,
        DATASET_INFO_NAME,
        *(f"{name}{LABELS_SUFFIX}" for name in labels),
    ]


def _is_class_label(feature: contract.Feature) -> bool:
    return bool(feature.names) and not feature.shape


def _features_json(features: Mapping[str, contract.Feature]) -> str:
    """Returns the text of `features.json`: how TensorFlow Datasets parses a record.

    Source:
        tensorflow_datasets/core/proto/feature.proto, in the JSON form of protocol
        buffers, which writes a 64-bit integer as a string.
    """
    by_name = {name: _feature(name, feature) for name, feature in features.items()}
    return _json(
        {
            "pythonClassName": f"{_FEATURES}.features_dict.FeaturesDict",
            "featuresDict": {"features": by_name},
        }
    )


def _feature(name: str, feature: contract.Feature) -> dict[str, Any]:
    if feature.dtype == "string":
        return {"pythonClassName": f"{_FEATURES}.text_feature.Text", "text": {}}
    if _is_class_label(feature):
        return {
            "pythonClassName": f"{_FEATURES}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": str(len(feature.names))},
        }
    sizes = [str(size) for size in feature.shape]
    return {
        "pythonClassName": f"{_FEATURES}.tensor_feature.Tensor",
        "tensor": {
            "shape": {"dimensions": sizes} if sizes else {},
            "dtype": feature.dtype,
            "encoding": "bytes" if name in contract.RAW_FEATURES else "none",
        },
    }


def _dataset_info_json(manifest: contract.Manifest) -> str:
    """Returns the text of `dataset_info.json`, which lists splits and shards.

    Source:
        tensorflow_datasets/core/proto/dataset_info.proto; see `_features_json`.
    """
    return _json(
        {
            "name": manifest.name,
            "version": _VERSION,
            "fileFormat": "tfrecord",
            "splits": [
                {
                    "name": name,
                    "shardLengths": [str(shard.num_examples) for shard in split.shards],
                    "numBytes": str(split.num_bytes),
                    "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                }
                for name, split in manifest.splits.items()
            ],
        }
    )


def is_our_dataset_info(text: bytes) -> bool:
    """Returns whether a `dataset_info.json` has exactly the fields that we write.

    TensorFlow Datasets itself also writes a `moduleName` and other fields.

    Example:
        >>> is_our_dataset_info(b'{"name": "mnist", "moduleName": "tfds.mnist"}')
        False
    """
    try:
        body = contract.parse_json(text)
    except (ValueError, RecursionError):
        return False
    names = {"name", "version", "fileFormat", "splits"}
    return isinstance(body, dict) and body.keys() == names


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=1, sort_keys=True) + "\n"
