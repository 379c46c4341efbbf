"""One line names a foreign package called pipeline, trainer or configs."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
PROGRAM = """
from trainer.operations import checks, package_names
print(*checks.make_all([checks.Check("names", package_names.check)]))
"""


def look(directory: pathlib.Path) -> str:
    """Returns the line of the check in a directory that has other packages."""
    # The links leave out the metadata that a build leaves in the repository's root.
    sources = directory / "sources"
    sources.mkdir(exist_ok=True)
    for name in ("pipeline", "trainer", "configs"):
        (sources / name).unlink(missing_ok=True)
        (sources / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=directory,
        env={"PYTHONPATH": str(sources)},
        capture_output=True,
        text=True,
    )
    (line,) = done.stdout.splitlines()
    return line


def install(directory: pathlib.Path, name: str, *packages: str) -> None:
    """Writes the files that pip leaves for an installed distribution."""
    info = directory / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "top_level.txt").write_text("\n".join(packages))


def test_the_packages_of_one_place_are_sound(tmp_path: pathlib.Path) -> None:
    install(tmp_path, "vaeline", "pipeline", "trainer", "configs")
    # Python imports the repository's package, because this directory has no file.
    (tmp_path / "configs").mkdir()
    expected = f"ok   names: pipeline, trainer, configs are imported from {ROOT}"
    assert look(tmp_path) == expected


@pytest.mark.parametrize("file", ["configs.py", "configs/__init__.py"])
def test_a_package_of_another_place_is_named(tmp_path: pathlib.Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert look(tmp_path) == (
        f"warn names: configs is imported from {tmp_path}, and trainer from {ROOT}: "
        f"run the command in another directory, remove {tmp_path} from PYTHONPATH, or "
        "install vaeline in a virtual environment of its own"
    )


def test_distributions_that_have_one_name_are_named(tmp_path: pathlib.Path) -> None:
    install(tmp_path, "other", "pipeline", "tools")
    assert look(tmp_path).startswith("ok ")
    install(tmp_path, "vaeline", "pipeline", "trainer", "configs")
    assert look(tmp_path) == (
        "warn names: other and vaeline are installed, and each has a package "
        "pipeline: install vaeline in a virtual environment of its own"
    )
