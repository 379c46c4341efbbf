import pathlib

import pytest

from pipeline import contract
from trainer.data import splits


def make_manifest() -> contract.Manifest:
    shard = contract.ShardInfo("d-train.tfrecord-00000-of-00001", 2, 100, "ab" * 32)
    return contract.Manifest(
        name="d",
        settings={},
        source_fingerprint="cd" * 32,
        features={
            "key": contract.Feature("string"),
            "image": contract.Feature("float16", (4, 4, 3)),
        },
        splits={"train": contract.SplitInfo((shard,))},
    )


def test_check_shard_sizes(tmp_path: pathlib.Path):
    manifest = make_manifest()
    with pytest.raises(contract.DatasetError, match="no split 'test'.*, only train$"):
        splits.check_shard_sizes(manifest, tmp_path, "test")
    with pytest.raises(contract.DatasetError, match="cannot be read"):
        splits.check_shard_sizes(manifest, tmp_path, "train")
    path = tmp_path / "d-train.tfrecord-00000-of-00001"
    path.write_bytes(b"x" * 99)
    with pytest.raises(contract.DatasetError, match="has 99 bytes.* says 100"):
        splits.check_shard_sizes(manifest, tmp_path, "train")
    path.write_bytes(b"x" * 100)
    splits.check_shard_sizes(manifest, tmp_path, "train")
