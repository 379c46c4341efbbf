"""Makes each mistake of `sabotages.py` in a copy of the checkout, and runs its tests.

python -m tests.sabotage
python -m tests.sabotage --only=mnist_hafner

A test that cannot fail protects nothing. The exit code is 1 if the tests miss a
mistake, if they fail without it, or if a patch fits no place or several.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from tests import preloaded
from tests.sabotages import SABOTAGES, Sabotage

ROOT = pathlib.Path(__file__).parents[1]
TIMEOUT_SECS = 600
# Exit codes of pytest.
_PASSED, _FAILED = 0, 1
# Times of the files that a mistake changes, in seconds.
_MOMENTS = itertools.count(1_000_000_000)
_ENVIRON = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": ""}


def find_tests(sabotage: Sabotage, root: pathlib.Path = ROOT) -> list[str]:
    """Returns the arguments of pytest that choose the tests of a sabotage.

    Raises:
        ValueError: If a test file does not exist.
    """
    arguments = []
    for test in sabotage.tests:
        name, sign, rest = test.partition("::")
        paths = [path.relative_to(root) for path in (root / "tests").rglob(name)]
        if len(paths) != 1:
            raise ValueError(f"tests/ has {len(paths)} files {name}")
        arguments.append(f"{paths[0]}{sign}{rest}")
    return [*arguments, *(["-k", sabotage.keyword] if sabotage.keyword else [])]


def patch(sabotage: Sabotage, text: str) -> str:
    """Returns the text of a file with the mistake.

    Raises:
        ValueError: If the file does not have the old text exactly once.
    """
    count = text.count(sabotage.old)
    if count != 1:
        raise ValueError(f"{sabotage.path} has the text {count} times, not once")
    return text.replace(sabotage.old, sabotage.new)


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
        self, arguments: Sequence[str], change: Sabotage | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs pytest in a copy of the checkout, with a mistake or without."""
        copy = self._free.get()
        try:
            with contextlib.nullcontext() if change is None else _changed(copy, change):
                return subprocess.run(
                    [self._python, "-m", "pytest", "-x", "-q", "-p", "no:xdist"]
                    + ["-p", "no:cacheprovider", *arguments],
                    cwd=copy,
                    env={**os.environ, **_ENVIRON},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=TIMEOUT_SECS,
                )
        finally:
            self._free.put(copy)


@contextlib.contextmanager
def _changed(copy: pathlib.Path, sabotage: Sabotage) -> Iterator[None]:
    path = copy / sabotage.path
    sound = path.read_text(encoding="utf-8")
    _write(path, patch(sabotage, sound))
    try:
        yield
    finally:
        _write(path, sound)


def _write(path: pathlib.Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Python compares only size and seconds with those of its bytecode.
    secs = next(_MOMENTS)
    os.utime(path, (secs, secs))


def judge(sabotage: Sabotage, workshop: Workshop) -> str:
    """Returns `caught`, or what is wrong with a sabotage or its tests."""
    try:
        done = workshop.run(find_tests(sabotage), sabotage)
    except ValueError as error:
        return f"WRONG: {error}"
    except subprocess.TimeoutExpired:
        return f"MISSED: the tests took longer than {TIMEOUT_SECS} s"
    if done.returncode == _PASSED:
        return "MISSED"
    if done.returncode != _FAILED:
        return f"WRONG: pytest ended with code {done.returncode}, so no test failed"
    return "caught"


def check_sound(chosen: Sequence[Sabotage], workshop: Workshop) -> str:
    """Returns the output of the tests that fail without any sabotage, or nothing.

    Tests that always fail would catch every mistake.
    """
    runs = {"": list[str]()}
    for sabotage in chosen:
        with contextlib.suppress(ValueError):  # `judge` says this.
            arguments = find_tests(sabotage)
            if sabotage.keyword:
                runs[" ".join(arguments)] = arguments
            else:
                runs[""] += arguments
    done = [workshop.run(list(dict.fromkeys(each))) for each in runs.values() if each]
    return "".join(each.stdout for each in done if each.returncode != _PASSED)


def main() -> None:
    """Judges the chosen sabotages."""
    parser = argparse.ArgumentParser(
        description="Makes mistakes that a test must notice."
    )
    parser.add_argument(
        "--only", default="", help="Part of the names, files or tests to choose."
    )
    only = parser.parse_args().only
    chosen = [one for one in SABOTAGES if only in f"{one.name} {one.path} {one.tests}"]
    num_processes = os.cpu_count() or 1
    with (
        tempfile.TemporaryDirectory(prefix="vaeline-sabotage-") as directory,
        preloaded.python() as python,
        concurrent.futures.ThreadPoolExecutor(num_processes) as pool,
    ):
        workshop = Workshop(pathlib.Path(directory), python, num_processes)
        faults = pool.submit(check_sound, chosen, workshop)
        verdicts = pool.map(lambda one: judge(one, workshop), chosen)
        num_caught = 0
        for sabotage, verdict in zip(chosen, verdicts, strict=True):
            print(f"{sabotage.name} ({sabotage.path}): {verdict}", flush=True)
            num_caught += verdict == "caught"
        print(f"{num_caught} of {len(chosen)} mistakes are caught")
        if faults.result():
            print(f"the tests fail without any mistake, too:\n{faults.result()}")
        sys.exit(num_caught < len(chosen) or not chosen or bool(faults.result()))


if __name__ == "__main__":
    main()
