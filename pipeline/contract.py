"""Defines a dataset directory: the contract between the pipeline and the trainer.

A dataset directory holds TFRecord shards, the files that TensorFlow Datasets needs to
load them, `rejected.jsonl` and `manifest.json`. The pipeline writes the manifest last,
so its presence means that the dataset is complete. The manifest lists every shard with
its size and hash, and the dataset digest seals the manifest.

A dataset holds either images or latents. Latents are the posteriors that a model
assigns to the images of another dataset.

The trainer reads datasets through this module alone, which imports neither Beam nor
TensorFlow.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from typing import Any

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
REJECTED_NAME = "rejected.jsonl"
OVERVIEW_NAME = "overview.png"
SPLITS = ("train", "validation", "test")

# Features of a dataset of latents: the posterior q(z|x) of each image.
LATENTS = ("posterior_mean", "posterior_log_var")
# Features stored as the raw little-endian values of an array, in row-major order.
RAW_FEATURES = ("image", *LATENTS)

# Largest allowed image in pixels, about 9,500 x 9,500. Pillow warns above the same
# limit.
MAX_IMAGE_PIXELS = 1024 * 1024 * 1024 // 4 // 3
# Largest allowed image file: `MAX_IMAGE_PIXELS`, uncompressed, 4 channels of 16 bits.
MAX_IMAGE_BYTES = 8 * MAX_IMAGE_PIXELS

# Remedy for a damaged manifest.
MANIFEST_REMEDY = "prepare the dataset again with `overwrite=True`"

# A feature has fewer values than this: a protocol buffer is smaller than 2 GiB.
_MAX_VALUES = 2**31
# A TFRecord file frames each record with its length and two checksums.
_FRAME_BYTES = 16

# Storage type -> (scale, offset): stored * scale + offset lies in [-1, 1].
IMAGE_DTYPES: Mapping[str, tuple[float, float]] = {
    "float16": (1.0, 0.0),
    "float32": (1.0, 0.0),
    "uint8": (1.0 / 127.5, -1.0),
}


# Kinds of files that are neither regular files nor directories.
_KINDS: Mapping[Callable[[int], bool], str] = {
    stat.S_ISFIFO: "named pipe",
    stat.S_ISSOCK: "socket",
    stat.S_ISCHR: "device",
    stat.S_ISBLK: "device",
}

# A user, or a user and a password, before the host of a URL. `HOST:PORT` is neither.
_CREDENTIALS = re.compile(r"(\w://)(?:[^\s/@]*:(?!\d*/)\S*@|[^\s/@]+@)")


def without_credentials(text: str) -> str:
    """Returns a text with the user and the password of its URLs masked.

    Example:
        >>> without_credentials("cannot reach http://me:secret@host:9000/faces")
        'cannot reach http://***@host:9000/faces'
    """
    return _CREDENTIALS.sub(r"\1***@", text)


class DatasetError(ValueError):
    """A fault of a dataset or of its source, described for the user."""

    def __str__(self) -> str:
        """Returns the error as one line, without the passwords of URLs.

        A name that the error quotes may contain line breaks.
        """
        return without_credentials(" ".join(super().__str__().splitlines()))


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature of a record.

    Attributes:
        dtype: `string`, `int64`, the storage type for the image, or `float32` for
            latents.
        shape: Static shape; `()` for a scalar.
        names: Names of the elements in order (the attributes of a face). For a scalar,
            names of its values from 0 (the classes of a label). May be empty.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that the names, if there are any, fit the shape."""
        if self.names and self.shape not in ((), (len(self.names),)):
            raise DatasetError(
                f"a feature of shape {list(self.shape)} cannot have "
                f"{len(self.names)} names"
            )


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file: its name in the directory and its expected content."""

    name: str
    num_examples: int
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class SplitInfo:
    """The shards of a split in order, and its number of rejects by reason."""

    shards: tuple[ShardInfo, ...]
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def num_examples(self) -> int:
        """Number of examples over all shards."""
        return sum(shard.num_examples for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all shards in bytes."""
        return sum(shard.num_bytes for shard in self.shards)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything that identifies a dataset.

    Attributes:
        name: Dataset name, the first part of every shard's file name.
        settings: Every preprocessing setting, by flag name.
        source_fingerprint: Hex sha256 of the content that the source lists.
        features: Features by name. Always includes `key` (a string scalar), and either
            `image` or both `LATENTS`.
        splits: Splits by name, in the order of `SPLITS`.
        versions: Versions of the libraries that wrote the dataset. Not part of the
            digest.
    """

    name: str
    settings: Mapping[str, Any]
    source_fingerprint: str
    features: Mapping[str, Feature]
    splits: Mapping[str, SplitInfo]
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """`[height, width, channels]` of every image."""
        return self._image().shape

    @property
    def image_dtype(self) -> str:
        """Storage type of the images, one of `IMAGE_DTYPES`."""
        return self._image().dtype

    @property
    def has_latents(self) -> bool:
        """Whether the examples are posteriors instead of images."""
        return self.features.keys() >= set(LATENTS)

    @property
    def digest(self) -> str:
        """The dataset digest: hex sha256 over everything but the versions."""
        return _digest(self._body())

    def _image(self) -> Feature:
        if "image" not in self.features:
            images = self.settings.get("dataset")
            remedy = (
                f"give the `dataset` that the latents encode (digest {images})"
                if images
                else "run pipeline.prepare on the images that the latents encode"
            )
            raise DatasetError(
                f"the dataset {self.name} holds latents instead of images: {remedy}"
            )
        return self.features["image"]

    def _body(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "settings": dict(self.settings),
            "source_fingerprint": self.source_fingerprint,
            **self._scaling(),
            "features": {
                name: dataclasses.asdict(feature)
                for name, feature in self.features.items()
            },
            "splits": {
                name: {
                    "num_examples": split.num_examples,
                    "num_bytes": split.num_bytes,
                    "rejected": dict(split.rejected),
                    "shards": [dataclasses.asdict(shard) for shard in split.shards],
                }
                for name, split in self.splits.items()
            },
        }

    def _scaling(self) -> dict[str, Any]:
        if "image" not in self.features:
            return {}
        scale, offset = IMAGE_DTYPES[self.image_dtype]
        return {"image": {"scale": scale, "offset": offset}}

    def to_json(self) -> str:
        """Returns the text of `manifest.json`."""
        body = self._body()
        sealed = {
            "digest": _digest(body),
            **body,
            "versions": dict(self.versions),
        }
        return json.dumps(sealed, indent=1) + "\n"


def parse_manifest(
    text: str,
    path: str | os.PathLike[str] = MANIFEST_NAME,
    remedy: str = MANIFEST_REMEDY,
) -> Manifest:
    """Parses the text of a `manifest.json`.

    Args:
        text: The content of a `manifest.json`.
        path: Path of the file, for error messages.
        remedy: What a user does about a damaged file, for error messages.

    Raises:
        DatasetError: If the text is not JSON, has another schema version, lacks a
            field, or has a field of the wrong type. Also if the digest does not match
            the content, or a total does not match the shards.
    """
    try:
        body = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON ({error}): {remedy}") from error
    version = body.get("schema_version") if isinstance(body, dict) else None
    if version != SCHEMA_VERSION:
        raise DatasetError(
            f"{path} has schema version {version!r:.80}, but this release reads only "
            f"version {SCHEMA_VERSION}: {remedy}"
        )
    try:
        manifest = Manifest(
            name=_typed(body["name"], str),
            settings=_typed(body["settings"], dict),
            source_fingerprint=_typed(body["source_fingerprint"], str),
            features={
                name: Feature(
                    dtype=_typed(feature["dtype"], str),
                    shape=tuple(_typed(size, int) for size in feature["shape"]),
                    names=tuple(_typed(label, str) for label in feature["names"]),
                )
                for name, feature in _typed(body["features"], dict).items()
            },
            splits={
                name: _parse_split(split, _typed(body["name"], str), name)
                for name, split in _typed(body["splits"], dict).items()
            },
            versions=_typed(body["versions"], dict),
        )
        _check_features(manifest.features)
        sealed = {name: body[name] for name in body.keys() - {"digest", "versions"}}
        is_sealed = body["digest"] == _digest(sealed) == manifest.digest
        counts = {name: split["num_examples"] for name, split in body["splits"].items()}
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise DatasetError(
            f"{path} is damaged ({type(error).__name__}: {error}): {remedy}"
        ) from error
    for name, split in manifest.splits.items():
        if counts[name] != split.num_examples:
            raise DatasetError(
                f"{path} says {counts[name]!r:.80} examples in split {name!r}, but its "
                f"shards add up to {split.num_examples}: the manifest was changed "
                f"after it was written; {remedy}"
            )
    if not is_sealed:
        raise DatasetError(
            f"{path} does not match its own digest: it was changed after it was "
            f"written; {remedy}"
        )
    return manifest


def check_labels(
    lowest: int, highest: int, num_classes: int, *, are_all_known: bool
) -> None:
    """Checks that the labels of a dataset are among the classes of a model.

    Args:
        lowest: Lowest label in the dataset.
        highest: Highest label in the dataset.
        num_classes: Number of classes of the model.
        are_all_known: Whether every image needs a class. If not, a negative label
            marks an image without a class.

    Raises:
        DatasetError: If a label is not a class of the model.
    """
    if highest >= num_classes:
        raise DatasetError(
            f"an image has the label {highest}, but the model's classes are 0 to "
            f"{num_classes - 1}: train with config.num_classes={highest + 1} or more"
        )
    if are_all_known and lowest < 0:
        raise DatasetError(
            f"an image has the label {lowest}, which is not a class: leave images "
            "without a class out of the dataset, or train with "
            "`config.labelled_fraction` below 1, which allows such images, or with "
            "config.condition=none"
        )


def load_manifest(dataset_dir: str | os.PathLike[str]) -> Manifest:
    """Returns the manifest of the dataset in `dataset_dir`.

    Raises:
        DatasetError: If there is no complete local dataset, or its manifest is damaged.
    """
    if "://" in str(dataset_dir):
        raise DatasetError(
            f"the dataset {dataset_dir} is in a bucket: copy it to a local or mounted "
            "directory, which training reads many times"
        )
    path = pathlib.Path(dataset_dir) / MANIFEST_NAME
    try:
        check_is_file(path)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        state = "is not finished" if path.parent.is_dir() else "does not exist"
        raise DatasetError(
            f"the dataset {path.parent} {state} (no {MANIFEST_NAME}): run "
            "python -m pipeline.prepare, or pipeline.encode for latents, with "
            f"--output={shlex.quote(str(path.parent))}; it keeps the finished shards"
        ) from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: {MANIFEST_REMEDY}") from error
    return parse_manifest(text, path)


def check_is_file(path: str | os.PathLike[str]) -> None:
    """Checks that a path is not a named pipe, a socket or a device.

    Opening a named pipe would wait for a writer.

    Raises:
        DatasetError: If the path is a named pipe, a socket or a device.
        OSError: If the path does not exist.
    """
    mode = os.stat(path).st_mode
    for is_kind, kind in _KINDS.items():
        if is_kind(mode):
            raise DatasetError(
                f"{os.fspath(path)} is a {kind}: replace it with a regular file"
            )


def parse_json(text: str | bytes) -> Any:
    """Parses a JSON text, and refuses an object that has the same name twice.

    Raises:
        ValueError: If the text is not JSON, or an object has a name twice. Some JSON
            readers keep the first value, and some the last.
        RecursionError: If the text is nested too deeply.

    Example:
        >>> parse_json('{"a": 1}')
        {'a': 1}
    """
    return json.loads(text, object_pairs_hook=_without_doubles)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {double!r:.80} occurs twice")
    return values


def shard_name(name: str, split: str, index: int, num_shards: int) -> str:
    """Returns the file name of a shard, in the form that TensorFlow Datasets parses.

    Raises:
        DatasetError: If `name` is not a letter followed by letters, digits and
            underscores, or the index is outside the split.

    Example:
        >>> shard_name("celeba", "train", 3, 64)
        'celeba-train.tfrecord-00003-of-00064'
    """
    if not re.fullmatch(r"[a-zA-Z]\w*", name, re.ASCII):
        raise DatasetError(
            f"dataset name {name!r} must begin with a letter, and contain only "
            "letters, digits and _"
        )
    if not 0 <= index < num_shards:
        raise DatasetError(f"shard {index} must be from 0 to {num_shards - 1}")
    return f"{name}-{split}.tfrecord-{index:05d}-of-{num_shards:05d}"


def parse_shard_info(body: Any) -> ShardInfo:
    """Rebuilds a `ShardInfo` from `dataclasses.asdict` output that went through JSON.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field has the wrong type.
        ValueError: If a number is out of range.
    """
    info = ShardInfo(
        name=_typed(body["name"], str),
        num_examples=_typed(body["num_examples"], int),
        num_bytes=_typed(body["num_bytes"], int),
        sha256=_typed(body["sha256"], str),
    )
    if not 0 <= info.num_examples * _FRAME_BYTES <= info.num_bytes < 2**63:
        raise ValueError(
            f"a shard with {info.num_examples} examples cannot have "
            f"{info.num_bytes} bytes"
        )
    return info


def _parse_split(split: Mapping[str, Any], name: str, split_name: str) -> SplitInfo:
    if split_name not in SPLITS:
        raise ValueError(f"unknown split {split_name!r:.80}")
    shards = tuple(parse_shard_info(shard) for shard in split["shards"])
    for index, shard in enumerate(shards):
        # The name is joined to the dataset's path and must not lead out of it.
        if shard.name != shard_name(name, split_name, index, len(shards)):
            raise ValueError(f"wrong shard name {shard.name!r:.80}")
    rejected = {
        reason: _typed(count, int)
        for reason, count in _typed(split["rejected"], dict).items()
    }
    if any(not 0 <= count < 2**63 for count in rejected.values()):
        raise ValueError(f"wrong numbers of rejected images {rejected!r:.80}")
    return SplitInfo(shards=shards, rejected=rejected)


def _check_features(features: Mapping[str, Feature]) -> None:
    ranks = {"key": 0, "image": 3, **dict.fromkeys(LATENTS, 1)}
    dtypes = {
        "key": ("string",),
        "image": tuple(IMAGE_DTYPES),
        **dict.fromkeys(LATENTS, ("float32",)),
    }
    names = features.keys()
    if "key" not in names or not ("image" in names or names >= set(LATENTS)):
        raise ValueError(
            "the features must include key, and image or latents, but are "
            f"{', '.join(features) or 'none':.80}"
        )
    for name, feature in features.items():
        is_sound = (
            feature.dtype in dtypes.get(name, ("int64",))
            and len(feature.shape) == ranks.get(name, len(feature.shape))
            and all(size > 0 for size in feature.shape)
            and math.prod(feature.shape) < _MAX_VALUES
        )
        if not is_sound:
            raise ValueError(
                f"unsupported feature {name!r:.80} of type {feature.dtype!r:.80} and "
                f"shape {list(feature.shape)!s:.80}"
            )


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"expected {kind.__name__}, found {value!r:.80}")
    return value


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
