"""Settings of a run that differ from the flagship's, `configs/celeba.py`.

The flagship declares every setting, and every other config changes some of its values.
So the differences say what is special about a run, whatever config it came from.
"""

import functools
import importlib.util
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from trainer.runs import settings

NAME = "configs/celeba.py"


def changes(config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the changed settings by dotted name: the run's and the flagship's value.

    A setting that the flagship does not have has None as the flagship's value. The
    result is empty if the installation has no flagship.

    Args:
        config: Settings as JSON values, resolved or not.

    Example:
        >>> changes({"latent_dim": 8, "seed": 0, "layer_defaults": {"kernel_size": 3}})
        {'latent_dim': (8, 100), 'layer_defaults.kernel_size': (3, 5)}
    """
    published = _settings()
    return {
        name: (value, published.get(name))
        for name, value in settings.flatten(config).items()
        if published and (name not in published or value != published[name])
    }


@functools.cache
def _settings() -> dict[str, Any]:
    """Returns the flagship's settings on one device, by dotted name."""
    # Found beside this package: a directory `configs` of the user may hide the module.
    path = pathlib.Path(__file__).parents[2] / NAME
    spec = importlib.util.spec_from_file_location("flagship", path)
    if not path.exists() or spec is None or spec.loader is None:
        return {}
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    resolved = settings.resolve(module.get_config(), num_replicas=1)
    return settings.flatten(json.loads(resolved.to_json()))
