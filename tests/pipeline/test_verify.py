import dataclasses
import errno
import hashlib
import os
import pathlib
import types

import pytest

from pipeline import contract, verify
from pipeline.formats import records
from pipeline.planning.dataset_settings import Settings
from pipeline.process import bars
from tests.pipeline import calls
from tests.pipeline.commands import run_verify


@pytest.fixture
def dataset(input_dir, tmp_path) -> pathlib.Path:
    output = tmp_path / "dataset"
    settings = Settings(image_size=8, shard_size=8)
    calls.prepare(settings, input_dir=input_dir, output=str(output))
    return output


def faults(dataset: pathlib.Path) -> list[str]:
    return verify.find_faults(str(dataset), contract.load_manifest(dataset))


def first_shard(dataset: pathlib.Path) -> pathlib.Path:
    return dataset / "celeba-train.tfrecord-00000-of-00004"


def test_a_sound_dataset_has_no_fault(dataset):
    assert faults(dataset) == []


def test_a_bar_counts_the_shards(dataset, monkeypatch):
    shown = []
    over = bars.over

    def noted(items, *names):
        for item in over(items, *names):
            shown.append((item.name, *names))
            yield item

    monkeypatch.setattr(bars, "over", noted)
    assert faults(dataset) == []
    names = [path.name for path in dataset.glob("*.tfrecord-*")]
    assert sorted(shown) == [(name, "verifying", "shard") for name in sorted(names)]


def second_shard(dataset: pathlib.Path) -> pathlib.Path:
    return dataset / "celeba-train.tfrecord-00001-of-00004"


def cut_at_a_record(dataset: pathlib.Path) -> str:
    path = first_shard(dataset)
    path.write_bytes(b"".join(list(records.read_frames(path))[:-1]))
    return f"{path.name}: ends after 3 of 4 records"


def cut_in_a_record(dataset: pathlib.Path) -> str:
    path = first_shard(dataset)
    path.write_bytes(path.read_bytes()[:-1])
    return f"{path.name}: record 3 is cut off"


def empty(dataset: pathlib.Path) -> str:
    first_shard(dataset).write_bytes(b"")
    return f"{first_shard(dataset).name}: is empty"


def replace(dataset: pathlib.Path) -> str:
    first, second = first_shard(dataset), second_shard(dataset)
    first.write_bytes(second.read_bytes())
    return f"{first.name}: holds the records of {second.name}"


def flip_a_bit(dataset: pathlib.Path) -> str:
    path = first_shard(dataset)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    return f"{path.name}: record 0 has a wrong checksum"


def remove(dataset: pathlib.Path) -> str:
    first_shard(dataset).unlink()
    return f"{first_shard(dataset).name}: missing"


def leave_another(dataset: pathlib.Path) -> str:
    stray = dataset / "celeba-train.tfrecord-00000-of-00009"
    stray.write_bytes(first_shard(dataset).read_bytes())
    return f"{stray.name}: not in manifest.json"


def reorder(dataset: pathlib.Path) -> str:
    path = first_shard(dataset)
    before = contract.load_manifest(dataset).splits["train"].shards[0].sha256
    path.write_bytes(b"".join(reversed(list(records.read_frames(path)))))
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    return (
        f"{path.name}: 4 sound records, but not the records that were written (sha256 "
        f"{after} instead of {before})"
    )


MUTATIONS = (
    cut_at_a_record,
    cut_in_a_record,
    empty,
    replace,
    flip_a_bit,
    remove,
    leave_another,
    reorder,
)


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_what_happened_to_a_shard_is_said(dataset, mutate):
    fault = mutate(dataset)
    assert faults(dataset) == [fault]
    done = run_verify(dataset)
    assert done.returncode == verify.EXIT_FAULTY == 3
    assert done.stderr == f"error: {fault}\n"


def test_two_shards_that_changed_places(dataset):
    first, second = first_shard(dataset), second_shard(dataset)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert faults(dataset) == [
        f"{first.name}: holds the records of {second.name}",
        f"{second.name}: holds the records of {first.name}",
    ]


@pytest.mark.parametrize("is_sealed_again", [False, True])
def test_a_wrong_count_in_the_manifest(dataset, is_sealed_again):
    path = dataset / contract.MANIFEST_NAME
    manifest = contract.load_manifest(dataset)
    shard, *others = manifest.splits["train"].shards
    wrong = dataclasses.replace(shard, num_examples=3)
    split = dataclasses.replace(manifest.splits["train"], shards=(wrong, *others))
    changed = dataclasses.replace(manifest, splits={**manifest.splits, "train": split})
    text = changed.to_json()
    if not is_sealed_again:
        text = text.replace(changed.digest, manifest.digest)
    path.write_text(text)
    done = run_verify(dataset)
    assert done.returncode == 3
    assert done.stderr == (
        f"error: {shard.name}: holds the 4 records that were written, but "
        "manifest.json says 3\n"
        if is_sealed_again
        else f"error: {path} does not match its own digest: it was changed after it "
        "was written; prepare the dataset again with --overwrite\n"
    )


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


def test_the_command(dataset):
    manifest = contract.load_manifest(dataset)
    done = run_verify(dataset)
    assert done.returncode == 0
    assert done.stdout == (
        f"OK: {dataset}: train 18, validation 6, test 6; "
        f"dataset digest: {manifest.digest}\n"
    )
    first_shard(dataset).unlink()
    (dataset / "x.tfrecord").write_bytes(b"")
    done = run_verify(dataset)
    assert done.returncode == verify.EXIT_FAULTY == 3
    assert done.stderr.splitlines() == [
        f"error: {first_shard(dataset).name}: missing",
        "error: x.tfrecord: not in manifest.json",
    ]
    (dataset / contract.MANIFEST_NAME).unlink()
    done = run_verify(dataset)
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: the dataset {dataset} is not finished")


def test_too_many_open_files_are_no_fault_of_a_dataset(dataset, monkeypatch):
    def refuse(path: str) -> list[bytes]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(verify.records, "read_frames", refuse)
    monkeypatch.setattr(verify, "_DATASET", types.SimpleNamespace(value=str(dataset)))
    with pytest.raises(
        SystemExit, match=r"^error: this process needs more than .* ulimit -n"
    ):
        verify.main(["verify"])
