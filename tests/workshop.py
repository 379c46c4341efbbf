"""Copies of the checkout, in which tests run against changed code."""

import contextlib
import itertools
import os
import pathlib
import queue
import shutil
import subprocess
from collections.abc import Iterator, Sequence

ROOT = pathlib.Path(__file__).parents[1]
# Exit codes of pytest.
PASSED, FAILED = 0, 1
# Times of the files that change, in seconds.
_MOMENTS = itertools.count(1_000_000_000)
_ENVIRON = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": ""}


def find_tests(names: Sequence[str], root: pathlib.Path = ROOT) -> list[str]:
    """Returns the arguments of pytest that choose tests.

    Args:
        names: File name, or `FILE::TEST`, all without the folder: no two test files
            have the same name.
        root: Checkout.

    Raises:
        ValueError: If a test file does not exist.
    """
    arguments = []
    for test in names:
        name, sign, rest = test.partition("::")
        paths = [path.relative_to(root) for path in (root / "tests").rglob(name)]
        if len(paths) != 1:
            raise ValueError(f"tests/ has {len(paths)} files {name}")
        arguments.append(f"{paths[0]}{sign}{rest}")
    return arguments


def copy_checkout(target: pathlib.Path) -> None:
    """Copies the files that Git knows or would add; `.venv` becomes a link."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / ".venv").symlink_to(ROOT / ".venv")


class Workshop:
    """Copies of the checkout, one for each process."""

    def __init__(self, directory: pathlib.Path, python: str, num_copies: int) -> None:
        """Makes the copies.

        Args:
            directory: Empty directory for the copies.
            python: Program that runs the tests.
            num_copies: Number of copies.
        """
        self._python = python
        self._free: queue.Queue[pathlib.Path] = queue.Queue()
        for number in range(num_copies):
            copy = directory / str(number)
            copy_checkout(copy)
            self._free.put(copy)

    def run(
        self,
        arguments: Sequence[str],
        timeout_secs: float,
        changed: tuple[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs pytest in a copy of the checkout, up to the first failure.

        Args:
            arguments: Arguments of pytest.
            timeout_secs: Seconds after which the tests are ended.
            changed: A file of the checkout, and its text in this run; None runs the
                code as it is.

        Raises:
            subprocess.TimeoutExpired: If the tests take longer.
        """
        copy = self._free.get()
        try:
            with contextlib.nullcontext() if changed is None else _file(copy, *changed):
                return subprocess.run(
                    [self._python, "-m", "pytest", "-x", "-q", "-p", "no:xdist"]
                    + ["-p", "no:cacheprovider", *arguments],
                    cwd=copy,
                    env={**os.environ, **_ENVIRON},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=timeout_secs,
                )
        finally:
            self._free.put(copy)


@contextlib.contextmanager
def _file(copy: pathlib.Path, name: str, text: str) -> Iterator[None]:
    path = copy / name
    sound = path.read_text(encoding="utf-8")
    _write(path, text)
    try:
        yield
    finally:
        _write(path, sound)


def _write(path: pathlib.Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Python compares only size and seconds with those of its bytecode.
    secs = next(_MOMENTS)
    os.utime(path, (secs, secs))
