"""Cuts or damages a source while `pipeline.prepare` reads it, then restores it."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from tests import preloaded
from tests.chaos.reliability import IS_FULL, python_to_kill, scenario
from tests.pipeline import commands
from tests.trainer.trained_runs import synthesize

_ZIP = "img_align_celeba.zip"
# Fewer than a thousand images need no worker processes, which would hold the zip open.
_NUM_IMAGES = 990 if IS_FULL else 300
_FLAGS = ("--image_size=32", "--shard_size=4", "--num_workers=1")


@pytest.fixture(scope="module")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns synthetic faces in CelebA's layout."""
    return synthesize(tmp_path_factory.mktemp("faces"), _NUM_IMAGES)


def write_in_place(path: pathlib.Path, data: bytes) -> None:
    """Replaces the content of a file and keeps its access and modification times."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(data: bytes) -> bytes:
    return data[: len(data) // 5]


def flip_bits(data: bytes) -> bytes:
    """Flips a bit every 40,000 bytes, between 1/5 and 9/10 of the zip."""
    changed = bytearray(data)
    for place in range(len(data) // 5, len(data) * 9 // 10, 40_000):
        changed[place] ^= 4
    return bytes(changed)


def prepare_while_damaged(faces: pathlib.Path, output: pathlib.Path, damage) -> str:
    """Damages the zip once some shards are written, and restores it at the end.

    Returns:
        The error message of `prepare`.
    """
    path = faces / _ZIP
    sound = path.read_bytes()
    process = subprocess.Popen(
        commands.command(faces, output, *_FLAGS, python=python_to_kill()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    commands.wait_until(
        lambda: commands.num_finished(output) >= 5 or process.poll() is not None
    )
    # Pause `prepare`, so it never reads a half-written file.
    preloaded.send(process, signal.SIGSTOP)
    write_in_place(path, damage(sound))
    preloaded.send(process, signal.SIGCONT)
    try:
        _, message = process.communicate(timeout=120)
    finally:
        write_in_place(path, sound)
    assert process.returncode == 1, message
    assert not (output / "manifest.json").exists()
    return next(line for line in message.splitlines() if line.startswith("error: "))


@scenario("the zip is cut, or its bits flip, while prepare reads it")
def test_a_source_that_is_restored(faces_dir, tmp_path, row) -> None:
    fresh = commands.run_command(faces_dir, tmp_path / "fresh", *_FLAGS)
    assert fresh.returncode == 0, fresh.stderr
    for damage in (flip_bits, cut) if IS_FULL else (cut,):
        output = tmp_path / damage.__name__
        message = prepare_while_damaged(faces_dir, output, damage)
        again = commands.run_command(faces_dir, output, *_FLAGS)
        assert again.returncode == 0, again.stderr
        assert again.stdout == fresh.stdout
        assert re.search(r"kept [1-9]\d* of", again.stderr), again.stderr
        assert commands.run_verify(output).returncode == 0
    row(
        "exit code 1, and nothing is published; once the zip is restored, the same "
        "command ends with the digest of sound data",
        "the shards with rejects",
        message,
        DIRECTORY=faces_dir,
        OUTPUT=output,
    )
