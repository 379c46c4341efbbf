"""Makes each mistake of `sabotages.py` in a copy of the checkout, and runs its tests.

python -m tests.sabotage
python -m tests.sabotage --only=mnist_hafner

A test that cannot fail protects nothing. The exit code is 1 if the tests miss a
mistake, if they fail without it, or if a patch fits no place or several.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from tests import preloaded
from tests.sabotages import SABOTAGES, Sabotage
from tests.workshop import FAILED, PASSED, ROOT, Workshop, find_tests

TIMEOUT_SECS = 600


def find_sabotage_tests(sabotage: Sabotage) -> list[str]:
    """Returns the arguments of pytest that choose the tests of a sabotage.

    Raises:
        ValueError: If a test file does not exist.
    """
    arguments = find_tests(sabotage.tests)
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


def judge(sabotage: Sabotage, workshop: Workshop) -> str:
    """Returns `caught`, or what is wrong with a sabotage or its tests."""
    try:
        sound = (ROOT / sabotage.path).read_text(encoding="utf-8")
        changed = sabotage.path, patch(sabotage, sound)
        done = workshop.run(find_sabotage_tests(sabotage), TIMEOUT_SECS, changed)
    except ValueError as error:
        return f"WRONG: {error}"
    except subprocess.TimeoutExpired:
        return f"MISSED: the tests took longer than {TIMEOUT_SECS} s"
    if done.returncode == PASSED:
        return "MISSED"
    if done.returncode != FAILED:
        return f"WRONG: pytest ended with code {done.returncode}, so no test failed"
    return "caught"


def check_sound(chosen: Sequence[Sabotage], workshop: Workshop) -> str:
    """Returns the output of the tests that fail without any sabotage, or nothing.

    Tests that always fail would catch every mistake.
    """
    runs = {"": list[str]()}
    for sabotage in chosen:
        with contextlib.suppress(ValueError):  # `judge` says this.
            arguments = find_sabotage_tests(sabotage)
            if sabotage.keyword:
                runs[" ".join(arguments)] = arguments
            else:
                runs[""] += arguments
    done = [
        workshop.run(list(dict.fromkeys(each)), TIMEOUT_SECS)
        for each in runs.values()
        if each
    ]
    return "".join(each.stdout for each in done if each.returncode != PASSED)


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
