"""What tests do to the machine under a trainer: its disks and its clock."""

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

_CLOCK = pathlib.Path(__file__).with_name("clock.c")


@contextlib.contextmanager
def disk(path: pathlib.Path, kib: int) -> Iterator[None]:
    """Mounts an empty disk of so many KiB at `path`; skips the test if it may not."""
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
    """Remounts a disk so that root, too, cannot write to it."""
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)


def fill(path: pathlib.Path, free_kib: int) -> None:
    """Writes a file that leaves so many KiB of its disk free."""
    with open(path, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.ftruncate(file.fileno(), max(0, file.tell() - free_kib * 1024))


def clock_set_back(library: pathlib.Path, seconds: int) -> dict[str, str]:
    """Returns an environment whose programs see another time of day.

    Args:
        library: Where to put what their calls to the system go through.
        seconds: How far the clock is back.
    """
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, to set a clock back")
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(_CLOCK), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library), "CLOCK_BACK_SECONDS": str(seconds)}
