"""Versions of the installed packages, and those that setup.py allows."""

import ast
import importlib.metadata
import pathlib
from collections.abc import Iterable

from packaging.requirements import Requirement

_PACKAGE = "vaeline"
# Of a clone, whose package is not installed.
_SETUP = pathlib.Path(__file__).parents[2] / "setup.py"


def required() -> list[Requirement]:
    """Returns what this package requires; nothing where neither source is there."""
    try:
        lines = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        if not _SETUP.exists():
            return []
        lines = _in_setup(_SETUP.read_text(encoding="utf-8"))
    requirements = [Requirement(line) for line in lines]
    return [one for one in requirements if one.marker is None or one.marker.evaluate()]


def outside(requirements: Iterable[Requirement]) -> list[str]:
    """Returns what is installed in a version that is not allowed, and what is.

    A package that is not installed is left to what imports it.

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
        # A release candidate of an allowed version is one, too.
        if not one.specifier.contains(version, prereleases=True):
            texts.append(
                f"{one.name} {version} (pip install '{one.name}{one.specifier}')"
            )
    return texts


def check() -> str:
    """Returns how many packages have versions that are allowed.

    Raises:
        ValueError: If some have others; they are named.
    """
    requirements = required()
    unmet = outside(requirements)
    if unmet:
        raise ValueError(f"not a version that setup.py allows: {', '.join(unmet)}")
    return f"those of {len(requirements)} packages are as setup.py allows"


def import_error(package: str, error: ImportError) -> str:
    """Returns in one line why a package cannot be imported, and what may help."""
    unmet = [text for text in outside(required()) if text.startswith(f"{package} ")]
    cause = f"{package} cannot be imported ({error})"
    if unmet:
        return f"{cause}, in a version that setup.py does not allow: {unmet[0]}"
    return f"{cause}: pip install it again"


def _in_setup(text: str) -> list[str]:
    """Returns the list REQUIRED of setup.py, which is not run."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REQUIRED":
            return ast.literal_eval(node.value)
    raise AssertionError("setup.py has no REQUIRED")
