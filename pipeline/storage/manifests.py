"""Loads the manifest of a dataset, local or in a bucket."""

import shlex

from pipeline import contract
from pipeline.storage import paths


def load(dataset_dir: str) -> contract.Manifest:
    """Returns the manifest of a dataset.

    Raises:
        DatasetError: If the dataset is incomplete or absent, or its manifest is
            damaged.
    """
    if not paths.is_url(dataset_dir):
        return contract.load_manifest(dataset_dir)
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
