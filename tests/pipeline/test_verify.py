import pathlib
import subprocess
import sys

import pytest

from pipeline import contract, plan, prepare, records, verify


@pytest.fixture
def dataset(input_dir, tmp_path) -> pathlib.Path:
    output = tmp_path / "dataset"
    settings = plan.Settings(image_size=8, shard_size=8)
    prepare.prepare(settings, input_dir=input_dir, output=str(output))
    return output


def faults(dataset: pathlib.Path) -> list[str]:
    return verify.find_faults(str(dataset), contract.load_manifest(dataset))


def first_shard(dataset: pathlib.Path) -> pathlib.Path:
    return dataset / "celeba-train.tfrecord-00000-of-00004"


def test_a_sound_dataset_has_no_fault(dataset):
    assert faults(dataset) == []


def test_a_missing_shard(dataset):
    first_shard(dataset).unlink()
    assert faults(dataset) == [f"{first_shard(dataset).name}: missing"]


def test_a_cut_shard(dataset):
    path = first_shard(dataset)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    num_bytes = len(content)
    assert faults(dataset) == [
        f"{path.name}: has {num_bytes - 1} bytes instead of {num_bytes}"
    ]


@pytest.mark.parametrize(
    ("position", "fault"),
    [
        (3, "record 0 has a damaged header"),
        (9, "record 0 has a damaged header"),
        (60, "record 0 has a wrong checksum"),
        (-1, "record 3 has a wrong checksum"),
    ],
)
def test_a_changed_byte(dataset, position, fault):
    path = first_shard(dataset)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert faults(dataset) == [f"{path.name}: {fault}"]


def test_a_shard_in_the_place_of_another(dataset):
    path = first_shard(dataset)
    other = path.with_name(path.name.replace("00000-of", "00001-of"))
    content, other_content = path.read_bytes(), other.read_bytes()
    assert len(content) != len(other_content) or content != other_content
    path.write_bytes(other_content)
    found = faults(dataset)
    assert len(found) == 1
    assert "sha256" in found[0] or "bytes instead of" in found[0]


def test_records_that_are_well_framed_and_too_few(dataset):
    path = first_shard(dataset)
    frames = list(records.read_frames(path))
    path.write_bytes(b"".join(frames[:-1]))
    info = contract.load_manifest(dataset).splits["train"].shards[0]
    size = len(b"".join(frames[:-1]))
    info = contract.ShardInfo(info.name, info.num_examples, size, info.sha256)
    assert verify.shard_fault(str(dataset), info) == (
        f"{path.name}: has 3 records instead of 4"
    )
    path.write_bytes(b"".join(frames)[: size + 5])
    info = contract.ShardInfo(info.name, info.num_examples, size + 5, info.sha256)
    assert verify.shard_fault(str(dataset), info) == (
        f"{path.name}: record 3 is cut off"
    )


def test_a_stray_shard(dataset):
    stray = dataset / "celeba-train.tfrecord-00000-of-00009"
    stray.write_bytes(b"")
    assert faults(dataset) == [f"{stray.name}: not in manifest.json"]


def run_verify(dataset: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.verify", f"--dataset={dataset}"],
        capture_output=True,
        text=True,
    )


def test_the_command(dataset):
    manifest = contract.load_manifest(dataset)
    found = run_verify(dataset)
    assert found.returncode == 0
    assert found.stdout == (
        f"OK: {dataset}: train 18, validation 6, test 6; "
        f"dataset digest: {manifest.digest}\n"
    )
    first_shard(dataset).unlink()
    (dataset / "x.tfrecord").write_bytes(b"")
    found = run_verify(dataset)
    assert found.returncode == verify.EXIT_FAULTY == 3
    assert found.stderr.splitlines() == [
        f"error: {first_shard(dataset).name}: missing",
        "error: x.tfrecord: not in manifest.json",
    ]
    (dataset / contract.MANIFEST_NAME).unlink()
    found = run_verify(dataset)
    assert found.returncode == 3
    assert found.stderr.startswith(f"error: the dataset {dataset} is not finished")
