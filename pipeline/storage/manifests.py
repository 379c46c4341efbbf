"""Loads the manifest of a dataset, local or in a bucket."""

import os
import shlex

from pipeline import contract
from pipeline.storage import contents, paths


def load(dataset_dir: str) -> contract.Manifest:
    """Returns the manifest of a dataset.

    Raises:
        DatasetError: If the dataset is incomplete or absent, or its manifest is
            damaged.
    """
    if not paths.is_url(dataset_dir):
        return load_local(dataset_dir)
    path = paths.join(dataset_dir, contract.MANIFEST_NAME)
    try:
        text = paths.read_bytes(path).decode()
    except FileNotFoundError as error:
        raise contract.DatasetError(
            f"the dataset {dataset_dir} is not finished or does not exist (no "
            f"{contract.MANIFEST_NAME}): run python -m pipeline.prepare, or "
            "pipeline.encode for latents, with "
            f"--output={shlex.quote(dataset_dir)}; it keeps the finished shards"
        ) from error
    except UnicodeDecodeError as error:
        raise contract.DatasetError(
            f"{path} is not UTF-8 text: {contract.MANIFEST_REMEDY}"
        ) from error
    return contract.parse_manifest(text, path)


def load_local(
    dataset_dir: str | os.PathLike[str], name: str = "dataset"
) -> contract.Manifest:
    """Returns the manifest of a local dataset.

    Args:
        dataset_dir: Directory of the dataset.
        name: Name of the argument that has the directory.

    Raises:
        DatasetError: If the directory holds no complete dataset, or its manifest is
            damaged. If it holds something else, such as raw images, the text says so.
    """
    try:
        return contract.load_manifest(dataset_dir)
    except contract.DatasetError as error:
        if not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise
        text = contents.missing_dataset_text(os.fspath(dataset_dir), name)
        if text is None:
            raise
        raise contract.DatasetError(text) from error
