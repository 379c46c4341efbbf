"""How many inputs properties are tried with: HYPOTHESIS_PROFILE=long for many."""

import os
import signal

from hypothesis import HealthCheck, settings

# The same inputs in every run, and no database of earlier ones.
settings.register_profile(
    "short",
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    max_examples=20_000,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# A shell has what it starts in the background ignore SIGINT, and its children too.
signal.signal(signal.SIGINT, signal.default_int_handler)
