"""Check for other packages with this project's top-level names."""

import importlib.metadata
import importlib.util
import os

from trainer.operations.checks import DoubtError

NAMES = ("pipeline", "trainer", "configs")


def check() -> str:
    """Returns a sentence on where the packages of `NAMES` are imported from.

    Raises:
        DoubtError: If a name is imported from another directory than `trainer`, or
            several installed distributions have a package of that name.
    """
    places = {name: place for name in NAMES if (place := _place(name))}
    home = places["trainer"]
    for name, place in places.items():
        if place != home:
            raise DoubtError(
                f"{name} is imported from {place}, and trainer from {home}: run the "
                f"command in another directory, remove {place} from PYTHONPATH, or "
                "install vaeline in a virtual environment of its own"
            )
    distributions = importlib.metadata.packages_distributions()
    for name in NAMES:
        if len(owners := sorted(set(distributions.get(name, ())))) > 1:
            raise DoubtError(
                f"{' and '.join(owners)} are installed, and each has a package {name}: "
                "install vaeline in a virtual environment of its own"
            )
    return f"{', '.join(places)} are imported from {home}"


def _place(name: str) -> str | None:
    """Returns the directory that a package is imported from, or None."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    # A single-file module has only an origin; a folder without `__init__.py` has none.
    locations = list(spec.submodule_search_locations or ()) or [spec.origin or name]
    return os.path.dirname(os.path.realpath(locations[0]))
