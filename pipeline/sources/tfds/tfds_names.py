"""Finds a data set of TensorFlow Datasets by its name, in the library's own directory.

    DATA_DIR/celeb_a/2.1.0                 celeb_a, or celeb_a:2.1.0
    DATA_DIR/imagenet/plain/1.0.0          imagenet/plain, or imagenet/plain:1.0.0

DATA_DIR is TFDS_DATA_DIR, or else ~/tensorflow_datasets. This module does not import
the library; `tfds_build` does.
"""

import dataclasses
import os
import re
from collections.abc import Mapping

from absl import logging

from pipeline import contract
from pipeline.formats.tfds_files import DATASET_INFO_NAME
from pipeline.storage import path_resolution, paths

_NAME = re.compile(
    r"(?P<name>[a-z]\w*)(?:/(?P<config>[\w.-]+))?(?::(?P<version>\d+\.\d+\.\d+))?",
    re.ASCII,
)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_NUM_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Name:
    """The name of a data set.

    Attributes:
        name: Name of the data set.
        config: Name of its config; "" for a data set without configs.
        version: Version, or "" for the newest.
    """

    name: str
    config: str
    version: str

    def __str__(self) -> str:
        """Returns the name as TensorFlow Datasets writes it."""
        config = f"/{self.config}" if self.config else ""
        return f"{self.name}{config}{f':{self.version}' if self.version else ''}"


def parse(text: str) -> Name | None:
    """Returns the name in a text, or None if the text is not a name.

    Example:
        >>> parse("celeb_a:2.1.0"), parse("data/celeb_a/2.1.0")
        (Name(name='celeb_a', config='', version='2.1.0'), None)
    """
    match = _NAME.fullmatch(text)
    return match and Name(match["name"], match["config"] or "", match["version"] or "")


def data_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Returns the directory where TensorFlow Datasets keeps prepared data sets."""
    given = environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return path_resolution.absolute(os.path.expanduser(given))


def locate(text: str, *, download: bool = False) -> str:
    """Returns the directory that a path or a name of a data set means.

    A path that exists is taken as a path.

    Args:
        text: Path, URL or name.
        download: Whether TensorFlow Datasets prepares a data set that is absent.

    Raises:
        DatasetError: If a name has no prepared data set, or cannot be prepared.
    """
    name = parse(text)
    is_path = paths.is_url(text) or os.path.exists(text)
    if name is None or is_path:
        if download:
            raise contract.DatasetError(
                f"input={text} is {'a path' if is_path else 'no name of a data set'}: "
                "give a name, such as celeb_a, or leave `download` out"
            )
        return path_resolution.absolute(text)
    root = find(name)
    if root is None and download:
        # Imported lazily: the import takes seconds.
        from pipeline.sources.tfds import tfds_build

        tfds_build.prepare(name, data_dir())
        root = find(name)
    if root is None:
        raise contract.DatasetError(
            f"input={text} is no path, and {data_dir()} has no prepared data set of "
            f"this name{_others()}: make it with tfds build {name}, or give "
            "`download=True`, or set TFDS_DATA_DIR to the directory that has it"
        )
    logging.info("reading %s from %s", name, root)
    return root


def find(name: Name) -> str | None:
    """Returns the directory of the newest prepared version, or None if there is none.

    Raises:
        DatasetError: If the name leaves the config open, and several are prepared.
    """
    home = paths.join(data_dir(), name.name)
    if not paths.is_directory(home):
        return None
    if name.config:
        return _newest(paths.join(home, name.config), name.version)
    root = _newest(home, name.version)
    if root is not None:
        return root
    by_config = {
        config: root
        for config in _directories(home)
        if (root := _newest(paths.join(home, config), name.version))
    }
    if len(by_config) > 1:
        raise contract.DatasetError(
            f"input={name} has the configs {_listed(sorted(by_config))}: give one, "
            f"such as {name.name}/{min(by_config)}"
        )
    return next(iter(by_config.values()), None)


def _newest(folder: str, version: str) -> str | None:
    """Returns the directory of a version in a folder; of the newest for ""."""
    versions = [version] if version else _directories(folder)
    roots = {
        tuple(map(int, each.split("."))): root
        for each in versions
        if _VERSION.fullmatch(each)
        and paths.find(paths.join(root := paths.join(folder, each), DATASET_INFO_NAME))
    }
    return roots[max(roots)] if roots else None


def _directories(path: str) -> list[str]:
    if not paths.is_directory(path):
        return []
    return [entry.name for entry in paths.list_directory(path) if entry.is_directory]


def _others() -> str:
    """Returns a note on the data sets that are prepared, or "" if there are none."""
    names = sorted(
        name
        for name in _directories(data_dir())
        if _NAME.fullmatch(name) and name != "downloads"
    )
    return f", only {_listed(names)}" if names else ""


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + more
