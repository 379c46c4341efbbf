"""Sources that are damaged, cut or replaced while a run reads them, then restored."""

import contextlib
import errno
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable, Iterator

import pytest

from pipeline import contract, verify
from pipeline.dataset import publishing, shards
from pipeline.jobs import graph, runners
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import files
from tests import damaged_jpegs
from tests.pipeline import calls
from tests.pipeline.commands import kept_shards

SMALL = Settings(image_size=8, shard_size=4)
NUM_SHARDS = 12
ZIP = "img_align_celeba.zip"

Damage = Callable[[pathlib.Path], None]


def run(root, output, settings=SMALL, **changes) -> contract.Manifest:
    return calls.prepare(settings, input_dir=str(root), output=str(output), **changes)


def write_in_place(path: pathlib.Path, data: bytes, *, keep_time: bool) -> None:
    status = path.stat()
    path.write_bytes(data)
    times = (status.st_atime_ns, status.st_mtime_ns + (not keep_time))
    os.utime(path, ns=times)


def member_start(path: pathlib.Path, number: int = 0) -> int:
    """Returns the offset of a member's content in a zip."""
    with zipfile.ZipFile(path) as archive:
        offset = archive.infolist()[number].header_offset
    data = path.read_bytes()
    return offset + 30 + sum(struct.unpack_from("<HH", data, offset + 26))


def flip_a_bit(root: pathlib.Path, *, keep_time: bool = True) -> None:
    """Flips a bit in one image, and a bit in the header of another image."""
    path = root / ZIP
    data = bytearray(path.read_bytes())
    data[member_start(path) + 300] ^= 4
    with zipfile.ZipFile(path) as archive:
        data[archive.infolist()[7].header_offset] ^= 1
    write_in_place(path, bytes(data), keep_time=keep_time)


def flip_a_bit_and_touch(root: pathlib.Path) -> None:
    flip_a_bit(root, keep_time=False)


def cut(root: pathlib.Path) -> None:
    path = root / ZIP
    write_in_place(path, path.read_bytes()[:9000], keep_time=True)


def remove(root: pathlib.Path) -> None:
    (root / ZIP).unlink()


def replace(root: pathlib.Path) -> None:
    """Replaces the zip by a zip with other pictures."""
    with zipfile.ZipFile(root / "new", "w") as archive:
        for number in range(1, 31):
            picture = damaged_jpegs.encoded(damaged_jpegs.picture(number))
            archive.writestr(f"img_align_celeba/{number:06d}.jpg", picture)
    os.replace(root / "new", root / ZIP)


@contextlib.contextmanager
def damaged(root: pathlib.Path, damage: Damage) -> Iterator[None]:
    """Damages a source during a block, then restores its files and their times."""
    before = {
        path: (path.read_bytes(), path.stat())
        for path in root.rglob("*")
        if path.is_file()
    }
    damage(root)
    try:
        yield
    finally:
        for path, (data, status) in before.items():
            path.write_bytes(data)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def damage_job(monkeypatch) -> Callable[[pathlib.Path, Damage], None]:
    """Returns a function that damages the source while the next job runs."""
    run_graph = runners.run_graph

    def after_listing(root: pathlib.Path, damage: Damage) -> None:
        def run_damaged(*arguments, **changes):
            monkeypatch.setattr(runners, "run_graph", run_graph)
            with damaged(root, damage):
                run_graph(*arguments, **changes)

        monkeypatch.setattr(runners, "run_graph", run_damaged)

    return after_listing


@pytest.fixture
def fresh(input_dir, tmp_path) -> contract.Manifest:
    return run(input_dir, tmp_path / "fresh")


def is_published(output: pathlib.Path) -> bool:
    return (output / contract.MANIFEST_NAME).exists()


def sidecars_with_rejects(output: pathlib.Path) -> list[str]:
    sidecars = (output / files.PROGRESS_DIR).glob("celeba-*.json")
    return [path.name for path in sidecars if '"rejects": []' not in path.read_text()]


@pytest.mark.parametrize("damage", [cut, replace, flip_a_bit_and_touch, remove])
def test_a_zip_that_changes_after_it_was_listed_gives_no_reject(
    input_dir, tmp_path, damage_job, fresh, damage
):
    output, root = tmp_path / "out", pathlib.Path(input_dir)
    damage_job(root, damage)
    with pytest.raises(
        contract.DatasetError,
        match="(changed after it was listed|cannot read) .*restore it, .*the same call",
    ):
        run(root, output, max_rejected_fraction=1.0)
    assert not is_published(output)
    assert sidecars_with_rejects(output) == []
    assert run(root, output).digest == fresh.digest
    assert verify.find_faults(str(output), fresh) == []


def test_rejects_of_a_run_that_failed_are_looked_at_again(
    input_dir, tmp_path, damage_job, fresh, caplog
):
    output, root = tmp_path / "out", pathlib.Path(input_dir)
    damage_job(root, flip_a_bit)
    with pytest.raises(contract.DatasetError, match="2 of 30 images were rejected"):
        run(root, output)
    assert len(sidecars_with_rejects(output)) == 2
    with caplog.at_level("INFO", logger="absl"):
        assert run(root, output).digest == fresh.digest
    assert kept_shards(caplog.text) == (NUM_SHARDS - 2, NUM_SHARDS)


def test_a_complete_dataset_loses_rejects_whose_source_is_restored(
    input_dir, tmp_path, damage_job, fresh, caplog
):
    output, root = tmp_path / "out", pathlib.Path(input_dir)
    damage_job(root, flip_a_bit)
    assert run(root, output, max_rejected_fraction=1.0).digest != fresh.digest
    with caplog.at_level("INFO", logger="absl"):
        assert run(root, output, max_rejected_fraction=1.0).digest == fresh.digest
    assert kept_shards(caplog.text) == (NUM_SHARDS - 2, NUM_SHARDS)
    assert "was rejected (checksum: " in caplog.text
    assert (
        "but a second read of the image does not confirm this: the shards of such "
        "images are written again" in caplog.text
    )
    assert (output / contract.REJECTED_NAME).read_text() == ""
    assert verify.find_faults(str(output), fresh) == []


def test_rejects_are_looked_at_again_before_they_are_published(
    input_dir, tmp_path, monkeypatch, fresh
):
    output, root = tmp_path / "out", pathlib.Path(input_dir)
    write_records, num_written = shards.write_records, []

    def write_damaged(*arguments):
        # Only the first shard is read while bits are flipped.
        with damaged(root, (lambda _: None) if num_written else flip_a_bit_of_all):
            num_written.append(1)
            return write_records(*arguments)

    monkeypatch.setattr(shards, "write_records", write_damaged)
    with pytest.raises(
        contract.DatasetError,
        match=r"jpg was rejected \(checksum: CRC-32 .*\), but a second read of the "
        "image does not confirm this: .* Make the same call again",
    ):
        run(root, output, max_rejected_fraction=1.0)
    monkeypatch.undo()
    assert not is_published(output)
    assert run(root, output).digest == fresh.digest


def flip_a_bit_of_all(root: pathlib.Path) -> None:
    path = root / ZIP
    data = bytearray(path.read_bytes())
    for number in range(30):
        data[member_start(path, number) + 300] ^= 4
    write_in_place(path, bytes(data), keep_time=True)


def test_confirmed_rejects_are_kept(celeba, tmp_path, caplog):
    keys = sorted(celeba.images)
    celeba.images[keys[0]] = damaged_jpegs.cut_to_a_quarter(celeba.images[keys[0]])
    del celeba.images[keys[2]]
    root = pathlib.Path(celeba.write(tmp_path / "raw"))
    flip_a_bit_of(root, 3)
    output = tmp_path / "out"
    first = run(root, output, max_rejected_fraction=0.2)
    reasons = [split.rejected for split in first.splits.values()]
    assert reasons[0] == {"checksum": 1, "missing": 1, "truncated": 1}
    times = {path: path.stat().st_mtime_ns for path in output.glob("*.*")}
    with caplog.at_level("INFO", logger="absl"):
        assert run(root, output, max_rejected_fraction=0.2) == first
        # A rerun keeps the shards of an unfinished dataset, too.
        (output / contract.MANIFEST_NAME).unlink()
        assert run(root, output, max_rejected_fraction=0.2) == first
    assert caplog.text.count(f"kept {NUM_SHARDS} of {NUM_SHARDS} shards") == 2
    del times[output / contract.MANIFEST_NAME]
    shards = [path for path in times if ".tfrecord-" in path.name]
    assert [path.stat().st_mtime_ns for path in shards] == [times[p] for p in shards]


def flip_a_bit_of(root: pathlib.Path, number: int) -> None:
    path = root / ZIP
    data = bytearray(path.read_bytes())
    data[member_start(path, number) + 300] ^= 4
    path.write_bytes(data)


def test_a_failing_disk_gives_no_reject(input_dir, tmp_path, monkeypatch, fresh):
    output, pread, num_reads = tmp_path / "out", os.pread, []

    def fail(*arguments):
        num_reads.append(1)
        if len(num_reads) == 9:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(*arguments)

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(contract.DatasetError, match="cannot read .*zip: .*Input/out"):
        run(input_dir, output, max_rejected_fraction=1.0)
    assert sidecars_with_rejects(output) == []
    assert run(input_dir, output).digest == fresh.digest


def test_a_read_that_is_cut_short_is_not_published(
    input_dir, tmp_path, monkeypatch, fresh
):
    output, pread, num_reads = tmp_path / "out", os.pread, []

    def cut_short(*arguments):
        num_reads.append(1)
        return pread(*arguments)[: 400 if len(num_reads) == 9 else None]

    monkeypatch.setattr(os, "pread", cut_short)
    with pytest.raises(
        contract.DatasetError, match="second read of the image does not confirm"
    ):
        run(input_dir, output, max_rejected_fraction=1.0)
    assert not is_published(output)
    assert run(input_dir, output).digest == fresh.digest


FOLDER = Settings(source="folder", image_size=8, shard_size=4)


def write_pictures(root: pathlib.Path, first: int = 0) -> pathlib.Path:
    root.mkdir(exist_ok=True)
    for number in range(20):
        picture = damaged_jpegs.picture(first + number, 30 + first, 40)
        (root / f"{number}.jpg").write_bytes(damaged_jpegs.encoded(picture))
    return root


def rewrite(root: pathlib.Path) -> None:
    write_pictures(root, first=50)


def replace_one(root: pathlib.Path) -> None:
    """Replaces a picture by another picture of the same size in bytes."""
    path = root / "7.jpg"
    size = path.stat().st_size
    data = damaged_jpegs.encoded(damaged_jpegs.picture(99, 20, 20))
    write_in_place(path, data.ljust(size, b"\0")[:size], keep_time=False)


def cut_one(root: pathlib.Path) -> None:
    path = root / "7.jpg"
    write_in_place(path, path.read_bytes()[:300], keep_time=True)


def remove_one(root: pathlib.Path) -> None:
    (root / "7.jpg").unlink()


@pytest.mark.parametrize("damage", [rewrite, replace_one, cut_one, remove_one])
def test_files_that_change_after_they_were_listed_are_not_published(
    tmp_path, damage_job, damage
):
    root, output = write_pictures(tmp_path / "raw"), tmp_path / "out"
    fresh = run(root, tmp_path / "fresh", FOLDER)
    damage_job(root, damage)
    with pytest.raises(
        contract.DatasetError,
        match="jpg.*(changed after it was listed|cannot read|No such file).*same call",
    ):
        run(root, output, FOLDER, max_rejected_fraction=1.0)
    assert not is_published(output)
    assert sidecars_with_rejects(output) == []
    assert run(root, output, FOLDER).digest == fresh.digest


def test_a_source_that_stays_replaced_is_another_one(tmp_path, damage_job):
    root, output = write_pictures(tmp_path / "raw"), tmp_path / "out"
    damage_job(root, rewrite)
    with pytest.raises(contract.DatasetError, match="changed after it was listed"):
        run(root, output, FOLDER)
    rewrite(root)
    with pytest.raises(
        contract.DatasetError, match="fingerprint of the source .* before"
    ):
        run(root, output, FOLDER)
    other = run(root, output, FOLDER, overwrite=True)
    assert other.digest == run(root, tmp_path / "fresh", FOLDER).digest


def test_a_missing_plan_is_named(input_dir, tmp_path):
    # Before a shard with rejects is published, its images are checked again. That check
    # needs the plan.
    root = pathlib.Path(input_dir)
    flip_a_bit_of(root, 0)
    publish_calls = []
    publish_once = publishing.publish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            graph,
            "publish",
            lambda *args: publish_calls.append(args) or publish_once(*args),
        )
        run(root, tmp_path / "out", max_rejected_fraction=1.0)
    with pytest.raises(contract.DatasetError, match="no later run may work in it"):
        publishing.publish(*publish_calls[0])
