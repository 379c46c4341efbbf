"""The input of a step: every record, the same on every host, from any step on."""

import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from pipeline import contract
from pipeline.formats import records
from tests.trainer.trained_runs import prepare
from trainer.cli import command_line
from trainer.data import input_pipeline, split_records, splits

BATCH = 12  # 4 lanes of 3 records; 16 shards of 6 records give 24 to a lane.


def batches(
    dataset: pathlib.Path,
    start_step: int = 0,
    num_replicas: int = 1,
    num_hosts: int = 1,
    host: int = 0,
    seed: int = 0,
    block_size: int = 4,
    split: str = "train",
    features: Sequence[str] = ("attributes", "landmarks"),
    reader: str = "records",
    check: split_records.Check | None = None,
) -> tf.data.Dataset:
    return input_pipeline.training_batches(
        contract.load_manifest(dataset),
        dataset,
        split,
        seed=seed,
        global_batch_size=BATCH,
        block_size=block_size,
        start_step=start_step,
        context=tf.distribute.InputContext(num_hosts, host, num_replicas),
        features=features,
        reader=reader,
        check=check,
    )


def record_ids(dataset: tf.data.Dataset, num_batches: int) -> np.ndarray:
    return np.stack([b["record_id"].numpy() for b in dataset.take(num_batches)])


def test_every_level_is_scaled_as_by_arithmetic() -> None:
    levels = np.arange(256, dtype=np.uint8)
    scale, offset = contract.IMAGE_DTYPES["uint8"]
    expected = levels * np.float32(scale) + np.float32(offset)
    np.testing.assert_array_equal(input_pipeline.scaled(tf.constant(levels)), expected)


@pytest.mark.parametrize("block_size", [4, 0])
def test_every_record_is_seen_once_in_each_epoch(
    dataset_dir: pathlib.Path, block_size: int
) -> None:
    ids = record_ids(batches(dataset_dir, block_size=block_size), 24)
    first, second = ids[:8].ravel(), ids[8:16].ravel()
    assert len(set(first)) == 96
    assert set(second) == set(first)
    assert set(ids[16:].ravel()) == set(first)
    assert second.tolist() != first.tolist()


def test_the_seed_changes_the_order_alone(dataset_dir: pathlib.Path) -> None:
    first = record_ids(batches(dataset_dir), 8)
    other = record_ids(batches(dataset_dir, seed=1), 8)
    assert other.tolist() != first.tolist()
    assert set(other.ravel()) == set(first.ravel())


@pytest.mark.parametrize("start_step", [1, 5, 8, 13, 100])
@pytest.mark.parametrize("block_size", [1, 4, 32, 0])
def test_a_resumed_order_is_the_rest_of_the_whole(
    dataset_dir: pathlib.Path, start_step: int, block_size: int
) -> None:
    whole = record_ids(batches(dataset_dir, block_size=block_size), start_step + 5)
    rest = record_ids(batches(dataset_dir, start_step, block_size=block_size), 5)
    np.testing.assert_array_equal(rest, whole[start_step:])


@pytest.mark.parametrize(
    ("num_hosts", "num_replicas"), [(1, 2), (1, 3), (2, 2), (2, 6), (3, 3), (4, 4)]
)
def test_replicas_and_hosts_share_the_same_batches(
    dataset_dir: pathlib.Path, num_hosts: int, num_replicas: int
) -> None:
    replicas_per_host = num_replicas // num_hosts
    for block_size in (4, 0):
        whole = record_ids(batches(dataset_dir, block_size=block_size), 10)
        hosts = [
            record_ids(
                batches(
                    dataset_dir,
                    0,
                    num_replicas,
                    num_hosts,
                    host,
                    block_size=block_size,
                ),
                10 * replicas_per_host,
            ).reshape(10, -1)
            for host in range(num_hosts)
        ]
        np.testing.assert_array_equal(np.concatenate(hosts, axis=1), whole)


@pytest.mark.parametrize(
    ("block_size", "features"), [(4, ("attributes", "landmarks")), (0, ())]
)
def test_tensorflows_own_reader_returns_the_same_batches(
    dataset_dir: pathlib.Path, block_size: int, features: tuple[str, ...]
) -> None:
    arguments = {
        **{"start_step": 5, "num_replicas": 2, "block_size": block_size},
        **{"features": features, "check": lambda values: None},
    }
    ours = batches(dataset_dir, **arguments)
    theirs = batches(dataset_dir, **arguments, reader="tf_data")
    assert theirs.element_spec == ours.element_spec
    for batch, same in zip(ours.take(20), theirs.take(20), strict=True):
        for name, values in batch.items():
            np.testing.assert_array_equal(values, same[name], err_msg=name)


def test_tensorflows_own_reader_checks_labels_and_checksums(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def refuse(features: Mapping[str, np.ndarray]) -> None:
        assert features["attributes"].shape == (96, 40)
        raise contract.DatasetError("a label is wrong")

    dataset = shutil.copytree(dataset_dir, tmp_path / "dataset")
    with pytest.raises(contract.DatasetError, match="a label is wrong"):
        batches(dataset, reader="tf_data", check=refuse)
    path = dataset / contract.load_manifest(dataset).splits["train"].shards[3].name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        contract.DatasetError, match=r"a shard of the split .train. in .*verify"
    ):
        batches(dataset, reader="tf_data")


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_images_are_as_stored_and_scaled_to_one_range(
    dataset_dir: pathlib.Path,
    faces_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    dtype: str,
) -> None:
    if dtype != "float16":
        dataset = prepare(faces_dir, tmp_path / dtype, f"--image_dtype={dtype}")
    else:
        dataset = dataset_dir
    batch = next(iter(batches(dataset)))
    reference = next(iter(batches(dataset_dir)))
    assert batch["image"].dtype == dtype
    images, expected = (input_pipeline.scaled(b["image"]) for b in (batch, reference))
    assert images.dtype == tf.float32
    assert images.shape == [BATCH, 32, 32, 3]
    assert -1 <= images.numpy().min() < images.numpy().max() <= 1
    np.testing.assert_array_equal(batch["record_id"], reference["record_id"])
    np.testing.assert_allclose(images, expected, atol=2.5e-4)
    assert batch["attributes"].shape == [BATCH, 40]
    assert batch["landmarks"].shape == [BATCH, 10]


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_tfds_yields_the_same_arrays(
    faces_dir: pathlib.Path, tmp_path: pathlib.Path, dtype: str
) -> None:
    dataset = prepare(faces_dir, tmp_path / "dataset", f"--image_dtype={dtype}")
    manifest = contract.load_manifest(dataset)
    builder = tfds.builder_from_directory(dataset)
    num_examples = manifest.splits["validation"].num_examples
    assert builder.info.splits["validation"].num_examples == num_examples
    theirs = list(builder.as_dataset(split="validation", shuffle_files=False))
    ours = input_pipeline.first_examples(manifest, dataset, "validation", 1000)
    images = tf.convert_to_tensor(np.stack([one["image"] for one in theirs]))
    assert len(theirs) == len(ours["key"]) == num_examples
    np.testing.assert_array_equal(ours["image"], input_pipeline.scaled(images))
    for name in ("attributes", "landmarks", "key"):
        stacked = np.stack([one[name] for one in theirs])
        np.testing.assert_array_equal(ours[name], stacked)


def test_a_shard_cut_at_a_record_boundary_is_noticed(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(dataset_dir, dataset)
    cut = batches(dataset)
    shard = dataset / contract.load_manifest(dataset).splits["train"].shards[0].name
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 6 * 5])
    with (
        pytest.raises(contract.DatasetError, match=rf"a shard is damaged.*{shard}"),
        command_line.damage_explained(),
    ):
        list(cut.take(8))
    with pytest.raises(contract.DatasetError, match="its manifest says"):
        batches(dataset)


def test_evaluation_sees_every_record_once_and_fills_up(
    dataset_dir: pathlib.Path,
) -> None:
    manifest = contract.load_manifest(dataset_dir)
    num_examples = manifest.splits["validation"].num_examples
    # Batch sizes one below, at and one above the split's size, far below and far above.
    for batch_size, num_replicas in (
        (num_examples - 1, 1),
        (num_examples, 1),
        (num_examples + 1, 1),
        (4, 2),
        (64, 4),
    ):
        actual = list(
            input_pipeline.evaluation_batches(
                manifest,
                dataset_dir,
                "validation",
                global_batch_size=batch_size,
                context=tf.distribute.InputContext(1, 0, num_replicas),
            )
        )
        sizes = {batch["image"].shape[0] for batch in actual}
        assert sizes == {batch_size // num_replicas}
        weights = np.concatenate([batch["weight"] for batch in actual])
        ids = np.concatenate([batch["record_id"] for batch in actual])
        assert len(weights) % batch_size == 0
        assert len(weights) - num_examples < batch_size
        assert weights.sum() == num_examples
        assert len(set(ids[weights == 1])) == num_examples


def test_first_examples_are_as_many_as_there_are(dataset_dir: pathlib.Path) -> None:
    manifest = contract.load_manifest(dataset_dir)
    total = manifest.splits["validation"].num_examples
    for num, expected in ((5, 5), (total, total), (total + 1, total)):
        first = input_pipeline.first_examples(manifest, dataset_dir, "validation", num)
        assert first["image"].shape == (expected, 32, 32, 3)
        assert len(set(first["key"].numpy())) == expected


def test_joined_splits_are_seen_in_equal_parts_of_a_lane(
    dataset_dir: pathlib.Path,
) -> None:
    """Joins 16 train shards and 2 of each other split.

    The shards make two lanes, and each lane gives 6 of the 12 records of a batch.
    """
    manifest = contract.load_manifest(dataset_dir)
    joined = "train+validation+test"
    num_shards = {name: len(info.shards) for name, info in manifest.splits.items()}
    assert num_shards == {"train": 16, "validation": 2, "test": 2}
    total = splits.num_examples(manifest, joined)
    assert total == 120
    seen = record_ids(batches(dataset_dir, split=joined), num_batches=total // BATCH)
    counts = np.unique(seen, return_counts=True)[1]
    # Each lane gives 60 records, and one lane has 61 records and the other 59.
    assert len(counts) == 119
    assert sorted(set(counts)) == [1, 2]
    with pytest.raises(contract.DatasetError, match="no split 'val' in"):
        batches(dataset_dir, split="train+val")


def test_joined_splits_are_shuffled_as_one(dataset_dir: pathlib.Path) -> None:
    joined = batches(dataset_dir, block_size=0, split="train+validation+test")
    assert len(set(record_ids(joined, num_batches=10).ravel())) == 120


def test_a_split_that_is_not_there_is_named(dataset_dir: pathlib.Path) -> None:
    manifest = contract.load_manifest(dataset_dir)
    with pytest.raises(contract.DatasetError, match="no split 'val' in"):
        splits.shards_of(manifest, dataset_dir, "val")


def test_a_split_that_is_cut_between_two_records_is_no_shorter_split(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dataset = shutil.copytree(dataset_dir, tmp_path / "dataset")
    manifest = contract.load_manifest(dataset)
    evaluated = input_pipeline.evaluation_batches(
        manifest,
        dataset,
        "train",
        global_batch_size=BATCH,
        context=tf.distribute.InputContext(),
    )
    shown = input_pipeline.examples(manifest, dataset, "train", BATCH)
    next(shown)
    path = dataset / manifest.splits["train"].shards[-1].name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 6 * 5])
    for batches_of_all in (evaluated, shown):
        with (
            pytest.raises(contract.DatasetError, match=rf"a shard is .*{path}"),
            command_line.damage_explained(),
        ):
            list(batches_of_all)


def test_a_record_without_one_of_the_features_is_named(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dataset = shutil.copytree(dataset_dir, tmp_path / "dataset")
    manifest = contract.load_manifest(dataset)
    path = dataset / manifest.splits["train"].shards[0].name
    whole = list(records.read_frames(path))
    other = records.unframed(whole[2]).replace(b"landmarks", b"landmarkz")
    whole[2] = b"".join(records.frame(other))
    path.write_bytes(b"".join(whole))
    message = rf"a shard is damaged, .* \(record 2 of shard {path} .*: landmarks .*\): "
    for batches_of_all in (
        batches(dataset).take(8),
        input_pipeline.examples(manifest, dataset, "train", BATCH),
    ):
        with (
            pytest.raises(contract.DatasetError, match=message),
            command_line.damage_explained(),
        ):
            list(batches_of_all)
