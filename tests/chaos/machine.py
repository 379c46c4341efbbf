"""Faults of the machine that a trainer runs on: its disks and its clock."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
from collections.abc import Iterator

import pytest

_CLOCK = pathlib.Path(__file__).with_name("clock.c")
# FS_IOC_SHUTDOWN and FS_SHUTDOWN_FLAGS_NOLOGFLUSH: stop the file system at once,
# without writing its journal.
_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2


@contextlib.contextmanager
def disk(path: pathlib.Path, kib: int) -> Iterator[None]:
    """Mounts an empty disk of `kib` KiB at `path`; skips the test if that fails."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(path)]
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def make_read_only(path: pathlib.Path) -> None:
    """Remounts a disk read-only, which stops even root from writing to it."""
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)


def fill(path: pathlib.Path, free_kib: int) -> None:
    """Writes a file that leaves `free_kib` KiB of its disk free."""
    with open(path, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.ftruncate(file.fileno(), max(0, file.tell() - free_kib * 1024))


def clock_set_back(library: pathlib.Path, seconds: int) -> dict[str, str]:
    """Returns environment variables that set the clock back for a program.

    Args:
        library: Path for the compiled library that intercepts system calls.
        seconds: Seconds to set the clock back.
    """
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, to set a clock back")
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(_CLOCK), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library), "CLOCK_BACK_SECONDS": str(seconds)}


class Disk:
    """An ext4 disk in a file, with a power supply that a test can cut."""

    def __init__(self, path: pathlib.Path, mib: int) -> None:
        """Mounts a new disk at `path`; skips the test if that fails."""
        self._path = path
        self._image = path.with_name(f"{path.name}.img")
        if shutil.which("mkfs.ext4") is None or os.geteuid() != 0:
            pytest.skip("only root can mount an ext4 disk, and needs mkfs.ext4")
        with open(self._image, "wb") as file:
            file.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", str(self._image)], check=True)
        path.mkdir()
        done = self._mount()
        if done.returncode:
            pytest.skip(f"cannot mount an ext4 disk: {done.stderr.strip()}")

    def cut(self) -> None:
        """Cuts the power: nothing reaches the disk from here on."""
        opened = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.ioctl(opened, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(opened)

    def restore(self) -> None:
        """Restores the power by mounting the disk again; no process may be using it."""
        self.unmount()
        done = self._mount()
        assert not done.returncode, done.stderr

    def unmount(self) -> None:
        """Unmounts the disk."""
        subprocess.run(["umount", str(self._path)], check=True)

    def _mount(self) -> subprocess.CompletedProcess[str]:
        command = ["mount", "-o", "loop", str(self._image), str(self._path)]
        return subprocess.run(command, capture_output=True, text=True)


@contextlib.contextmanager
def disk_to_cut(path: pathlib.Path, mib: int) -> Iterator[Disk]:
    """Mounts an empty disk at `path`, with a power supply that a test can cut."""
    disk = Disk(path, mib)
    try:
        yield disk
    finally:
        disk.unmount()
