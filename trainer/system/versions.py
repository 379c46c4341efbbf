"""Compares the versions of installed packages with the versions in setup.py."""

import ast
import importlib.metadata
import pathlib
from collections.abc import Iterable

from packaging.requirements import Requirement

_PACKAGE = "vaeline"
# setup.py has the versions if a clone of the repository runs without being installed.
_SETUP = pathlib.Path(__file__).parents[2] / "setup.py"


def required() -> list[Requirement]:
    """Returns the requirements of this package; empty if none can be found."""
    try:
        lines = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        if not _SETUP.exists():
            return []
        lines = _in_setup(_SETUP.read_text(encoding="utf-8"))
    requirements = [Requirement(line) for line in lines]
    return [one for one in requirements if one.marker is None or one.marker.evaluate()]


def outside(requirements: Iterable[Requirement]) -> list[str]:
    """Returns installed packages whose version is not allowed, with the remedy.

    A package that is not installed is skipped: its import will fail.

    Example:
        >>> outside([Requirement("numpy>=1"), Requirement("none-such>=9")])
        []
    """
    texts = []
    for one in requirements:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        # Allow a release candidate of an allowed version.
        if not one.specifier.contains(version, prereleases=True):
            texts.append(
                f"{one.name} {version} (pip install '{one.name}{one.specifier}')"
            )
    return texts


def check() -> str:
    """Returns a text with the number of packages whose versions are allowed.

    Raises:
        ValueError: If a package has another version; the text names all such packages.
    """
    requirements = required()
    unmet = outside(requirements)
    if unmet:
        raise ValueError(f"setup.py does not allow {', '.join(unmet)}")
    return (
        f"packages with a version that setup.py allows: {len(requirements)} of "
        f"{len(requirements)}"
    )


def import_error(package: str, error: ImportError) -> str:
    """Returns one line on why a package cannot be imported, and a possible remedy."""
    unmet = [text for text in outside(required()) if text.startswith(f"{package} ")]
    cause = f"{package} cannot be imported ({error})"
    if unmet:
        return f"{cause}; setup.py does not allow its version: {unmet[0]}"
    return f"{cause}: install the package again with pip"


def _in_setup(text: str) -> list[str]:
    """Returns the list REQUIRED of setup.py, without running setup.py."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REQUIRED":
            return ast.literal_eval(node.value)
    raise AssertionError("setup.py has no REQUIRED")
