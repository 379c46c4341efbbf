import contextlib
import errno
import mmap
import os
import pathlib
import re
import socket
import stat
import subprocess
import sys

import numpy as np
import pytest

from pipeline.storage import files, large_files


def test_a_file_is_written_in_full_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_bytes(path, b"old")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_bytes(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("number", "is_told"),
    [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)],
)
def test_a_system_may_sync_no_directory(tmp_path, monkeypatch, number, is_told):
    fsync = os.fsync

    def refuse(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(file)

    monkeypatch.setattr(os, "fsync", refuse)
    path = tmp_path / "a.json"
    with contextlib.ExitStack() as stack:
        if is_told:
            # Our error names the directory; the system's error does not.
            match = re.escape(f"{os.strerror(number)}: '{tmp_path}'")
            stack.enter_context(pytest.raises(OSError, match=match))
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_cannot_be_synced_is_an_error_of_its_name(tmp_path, monkeypatch):
    def refuse(file):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "new").write_bytes(b"new")
    with pytest.raises(OSError, match=f"Invalid argument: '{tmp_path / 'new'}'"):
        files.put(tmp_path / "new", tmp_path / "old")
    assert not (tmp_path / "old").exists()


def test_a_directory_that_may_not_be_read_is_left_to_the_system(tmp_path, monkeypatch):
    # Simulate the refusal, because root may read everything.
    real_open = os.open

    def refuse(path, flags, *rest):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    files.write_bytes(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"


def test_directories_are_made_with_those_above(tmp_path):
    for _ in range(2):
        files.make_directory(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        files.make_directory(tmp_path / "file/a")
    with pytest.raises(FileExistsError):
        files.make_directory(tmp_path / "file")


PIECE = 4 * mmap.PAGESIZE


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_files, "_PIECE_BYTES", PIECE)


def write_in_parts(path: pathlib.Path, content: bytes) -> None:
    """Writes a large file in parts of 1, 4, 16, … bytes."""
    with large_files.LargeFile(path) as file:
        start = 0
        for size in (4**number for number in range(20)):
            file.write(content[start : start + size])
            start += size


def noise(num_bytes: int) -> bytes:
    return np.random.default_rng(0).bytes(num_bytes)


SIZES = (0, 1, 5, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 10 * PIECE + 4097)


@pytest.mark.parametrize("num_bytes", SIZES)
def test_a_large_file_has_what_was_written(small_pieces, tmp_path, num_bytes):
    path = tmp_path / "shard"
    path.write_bytes(noise(20 * PIECE)[::-1])
    write_in_parts(path, noise(num_bytes))
    assert path.read_bytes() == noise(num_bytes)


def test_a_system_may_refuse_large_pages(small_pieces, tmp_path, monkeypatch):
    no_advice = 2**20
    with pytest.raises(OSError, match="Invalid argument"):
        mmap.mmap(-1, PIECE).madvise(no_advice)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", no_advice, raising=False)
    write_in_parts(tmp_path / "shard", noise(3 * PIECE))
    assert (tmp_path / "shard").read_bytes() == noise(3 * PIECE)


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no direct writes here")
@pytest.mark.parametrize("refused", ["the file", "a write", "the rest of a write"])
@pytest.mark.parametrize("num_bytes", SIZES[1:])
def test_a_system_may_refuse_direct_writes(
    small_pieces, tmp_path, monkeypatch, refused, num_bytes
):
    real_open, real_pwrite, sizes, released = os.open, os.pwrite, [], []

    def refuse(is_refused):
        if is_refused:
            raise OSError(errno.EINVAL, "Invalid argument")

    def open_(path, flags, mode):
        file = real_open(path, flags & ~os.O_DIRECT, mode)
        refuse(refused == "the file" and flags & os.O_DIRECT)
        return file

    def pwrite(file, data, start):
        sizes.append(len(data))
        refuse(refused == "a write" and len(sizes) == 1)
        refuse(refused == "the rest of a write" and len(sizes) == 2)
        is_cut = refused == "the rest of a write" and len(sizes) == 1
        return real_pwrite(file, data[:100] if is_cut else data, start)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "posix_fadvise", lambda *args: released.append(args))
    write_in_parts(tmp_path / "shard", noise(num_bytes))
    assert (tmp_path / "shard").read_bytes() == noise(num_bytes)
    # Written pages are released from the page cache.
    assert released


@pytest.mark.parametrize("at", [1, 4])
def test_a_large_file_that_cannot_be_written_is_an_error(
    small_pieces, tmp_path, monkeypatch, at
):
    pwrite, calls = os.pwrite, []

    def fail(*args):
        calls.append(args)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", fail)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space"):
        write_in_parts(tmp_path / "shard", noise(4 * PIECE))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_large_file_that_is_given_up_is_closed(small_pieces, tmp_path):
    def give_up():
        with large_files.LargeFile(tmp_path / "shard") as file:
            file.write(noise(PIECE + 1))
            raise KeyError

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError):
        give_up()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_killed_processes_left_in_tmpdir_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    machine = socket.gethostname()
    theirs = [
        f"vaeline-{machine}-{os.getppid()}-shard.tmp",
        f"vaeline-another-{machine}-{killed.pid}-shard.tmp",
        f"{machine}-{killed.pid}-shard.tmp",
        "vaeline-notes",
    ]
    for name in (*theirs, f"vaeline-{machine}-{killed.pid}-shard.tmp"):
        (tmp_path / name).write_text("")
    directory = tmp_path / f"vaeline-{machine}-{killed.pid}-runs"
    directory.mkdir()
    (directory / "run").symlink_to(tmp_path / "vaeline-notes")
    path = files.temporary_path("gs://bucket/faces", "shard")
    assert path.parent == tmp_path
    assert path.name.startswith(f"vaeline-{machine}-{os.getpid()}-shard.")
    assert sorted(os.listdir(tmp_path)) == sorted(theirs)
    assert files.temporary_path(str(tmp_path), "shard").parent.name == ".progress"


def test_what_is_discarded_is_the_name_alone(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_text("theirs")
    for name in ("file", "link", "pipe", "directory", "absent"):
        path = tmp_path / name
        if name == "file":
            path.write_text("")
        elif name == "link":
            path.symlink_to(tmp_path / "theirs")
        elif name == "pipe":
            os.mkfifo(path)
        elif name == "directory":
            (path / "below").mkdir(parents=True)
        files.discard(path)
        assert not os.path.lexists(path)
    assert (tmp_path / "theirs/file").exists()
