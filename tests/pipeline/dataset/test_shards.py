import dataclasses
import errno
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from pipeline import contract, sources
from pipeline.dataset import examples, shards
from pipeline.formats import records
from pipeline.planning import dataset_settings, plan, plan_files
from pipeline.storage import files, paths


@dataclasses.dataclass
class Job:
    """A shard to write, and the directory to write it to."""

    plan: plan.ShardPlan
    settings: dataset_settings.Settings
    reader: sources.Reader
    output: str

    def make(self, run_id: str = "first") -> shards.ShardResult:
        return shards.make_shard(
            self.plan, self.settings, self.reader, self.output, run_id
        )

    @property
    def path(self) -> pathlib.Path:
        return pathlib.Path(self.output, self.plan.shard.name)


def make_job(input_dir: str, output: pathlib.Path, **changes) -> Job:
    settings = dataset_settings.Settings(image_size=8, shard_size=8, **changes)
    listing = sources.list_images("celeba", input_dir)
    (output / files.PROGRESS_DIR).mkdir(parents=True)
    first = next(plan.shard_plans(listing, settings))
    return Job(first, settings, listing.reader, str(output))


@pytest.fixture
def job(input_dir, tmp_path) -> Job:
    return make_job(input_dir, tmp_path / "out")


def test_a_shard_holds_what_was_planned(job, celeba):
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    result = job.make()
    framed = list(records.read_frames(job.path))
    assert len(framed) == result.info.num_examples == len(job.plan.images)
    assert job.path.stat().st_size == result.info.num_bytes
    assert paths.hash_file(str(job.path)) == result.info.sha256
    for key, record in zip(job.plan.images.keys, framed, strict=True):
        feature = proto.Example.FromString(records.unframed(record)).features.feature
        assert feature["key"].bytes_list.value[:] == [key.encode()]
        assert len(feature["image"].bytes_list.value[0]) == 8 * 8 * 3 * 2
        attributes = [int(value > 0) for value in celeba.attributes[key]]
        assert feature["attributes"].int64_list.value[:] == attributes
        assert feature["landmarks"].int64_list.value[:] == celeba.landmarks[key]


def test_a_record_is_the_librarys_own_serialization():
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    for dtype, side in (("float16", 1), ("float32", 7), ("uint8", 200)):
        image = np.arange(side * side * 3).reshape(side, side, 3).astype(dtype)
        labels = {"zebra": [3], "attributes": [0, 1, 1 << 40, -1], "empty": []}
        example = proto.Example()
        feature = example.features.feature
        feature["key"].bytes_list.value.append("ключ".encode())
        feature["image"].bytes_list.value.append(image.tobytes())
        for name, values in labels.items():
            feature[name].int64_list.value.extend(values)
        expected = example.SerializeToString(deterministic=True)
        parts = records.encode_record("ключ", {"image": image}, labels)
        assert b"".join(parts) == expected


def test_a_scalar_label_is_one_value(job):
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    labels = np.arange(len(job.plan.images)) + 250
    images = dataclasses.replace(job.plan.images, features={"label": labels})
    job.plan = dataclasses.replace(job.plan, images=images)
    job.make()
    for label, framed in zip(labels, records.read_frames(job.path), strict=True):
        feature = proto.Example.FromString(records.unframed(framed)).features.feature
        assert feature["label"].int64_list.value[:] == [label]


def test_tensorflow_reads_the_frames(job):
    tf = pytest.importorskip("tensorflow")
    job.make()
    read = [record.numpy() for record in tf.data.TFRecordDataset(str(job.path))]
    assert read == [
        records.unframed(framed) for framed in records.read_frames(job.path)
    ]


def test_a_big_endian_image_is_written_little_endian():
    little = np.arange(12, dtype="<f4").reshape(2, 2, 3)
    big = little.astype(">f4")
    same = [
        b"".join(records.encode_record("k", {"image": x}, {})) for x in (big, little)
    ]
    assert same[0] == same[1]


def test_an_intact_shard_is_kept(job):
    first = job.make("first")
    modified_ns = job.path.stat().st_mtime_ns
    assert job.make("second") == first
    assert job.path.stat().st_mtime_ns == modified_ns


@pytest.mark.parametrize("damage", ["bytes", "size", "file", "sidecar", "plan", "json"])
def test_a_shard_that_is_not_intact_is_written_again(job, damage):
    first = job.make("first")
    content = job.path.read_bytes()
    sidecar = pathlib.Path(shards.sidecar_path(job.output, job.plan.shard.name))
    if damage == "bytes":
        job.path.write_bytes(content[:100] + b"!" + content[101:])
    elif damage == "size":
        job.path.write_bytes(content[:-1])
    elif damage == "file":
        job.path.unlink()
    elif damage == "sidecar":
        sidecar.unlink()
    elif damage == "json":
        sidecar.write_text(sidecar.read_text()[:50])
    else:
        shard = dataclasses.replace(job.plan.shard, fingerprint="another")
        job.plan = dataclasses.replace(job.plan, shard=shard)
    second = job.make("second")
    assert second.run_id == "second"
    assert second.info == first.info
    assert job.path.read_bytes() == content


def test_a_run_that_dies_leaves_no_old_sidecar_beside_a_new_shard(job, monkeypatch):
    job.make("first")
    content = job.path.read_bytes()
    job.path.write_bytes(b"!" + content[1:])

    def die(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shards, "_write_sidecar", die)
    with pytest.raises(OSError, match="Input/output error"):
        job.make("second")
    assert job.path.read_bytes() == content
    sidecar = shards.sidecar_path(job.output, job.plan.shard.name)
    assert not pathlib.Path(sidecar).exists()


def test_rejects_are_named_and_leave_no_record(celeba, make_face, tmp_path):
    train = [key for key, split in celeba.split_of.items() if split == "train"]
    gone, cut, small = train[:3]
    celeba.images[cut] = celeba.images[cut][:-200]
    celeba.images[small] = make_face(0, 9, 9)
    del celeba.images[gone]
    directory = celeba.write(tmp_path / "raw")
    listing = sources.list_images("celeba", directory)
    settings = dataset_settings.Settings(image_size=8, crop_size=10)
    output = tmp_path / "out"
    (output / files.PROGRESS_DIR).mkdir(parents=True)
    only = next(plan.shard_plans(listing, settings))
    result = shards.make_shard(only, settings, listing.reader, str(output), "r")
    assert sorted((reject.key, reject.reason) for reject in result.rejects) == sorted(
        [(gone, "missing"), (cut, "truncated"), (small, "too_small")]
    )
    assert result.info.num_examples == len(train) - 3
    sidecar = shards.sidecar_path(str(output), only.shard.name)
    assert shards.read_sidecar(sidecar) == result


def test_a_reject_is_confirmed_for_its_own_reason_alone(celeba, tmp_path):
    cut, sound, *_ = sorted(celeba.images)
    celeba.images[cut] = celeba.images[cut][:-200]
    job = make_job(celeba.write(tmp_path / "raw"), tmp_path / "out")
    planned = plan.shard_plans(
        sources.list_images("celeba", str(tmp_path / "raw")), job.settings
    )
    images = {key: shard.images for shard in planned for key in shard.images.keys}
    for key, reason, is_confirmed in (
        (cut, "truncated", True),
        (cut, "checksum", False),
        (sound, "truncated", False),
        ("absent.jpg", "missing", False),
    ):
        reject = examples.Reject(key, reason, "")
        unconfirmed = examples.find_unconfirmed(
            [reject], images.get(key, images[cut]), job.settings, job.reader
        )
        assert unconfirmed == (None if is_confirmed else reject)


def test_a_full_disk_says_what_to_do(job, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "write_records", fail)
    with pytest.raises(contract.DatasetError, match="no space left .* free some space"):
        job.make()
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(contract.DatasetError, match="no space left .* free some space"):
        plan_files.save_plan(job.plan, job.output, "first")
    assert list(pathlib.Path(job.output, files.PROGRESS_DIR).iterdir()) == []


def test_another_failure_of_the_disk_keeps_its_traceback(job, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shards, "write_records", fail)
    with pytest.raises(OSError, match="Input/output error"):
        job.make()


def test_a_worker_never_imports_tensorflow(input_dir, tmp_path):
    (tmp_path / "out" / files.PROGRESS_DIR).mkdir(parents=True)
    program = f"""
import sys
from pipeline import prepare, sources, verify
from pipeline.dataset import publishing, shards
from pipeline.jobs import graph, runners
from pipeline.planning import plan
from pipeline.planning.dataset_settings import Settings
import pipeline.jobs.worker
assert "tensorflow" not in sys.modules, "on import"
settings = Settings(image_size=8)
listing = sources.list_images("celeba", {input_dir!r})
first = next(plan.shard_plans(listing, settings))
result = shards.make_shard(
    first, settings, listing.reader, {str(tmp_path / "out")!r}, "r"
)
assert result.info.num_examples == len(first.images)
assert "tensorflow" not in sys.modules, "on use"
assert not any(name.split(".")[0] in ("trainer", "configs") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
