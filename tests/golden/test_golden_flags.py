"""Checks that no golden flag or setting disappears or changes its default."""

from typing import Any

import pytest

from tests.golden import golden_commands as golden
from tests.golden import golden_flags
from trainer.runs import settings


@pytest.mark.parametrize("module", golden_flags.MODULES)
def test_a_command_has_its_flags(module: str) -> None:
    actual = golden_flags.flags_of(module)
    for name, expected in golden.expected("flags")[module].items():
        flag: dict[str, Any] = actual[name]
        # New allowed values are fine.
        assert set(expected.pop("values")) <= set(flag.pop("values")), name
        assert flag == expected, name


def test_a_config_has_its_settings() -> None:
    actual = golden_flags.configs()
    for name, expected in golden.expected("configs").items():
        for setting, value in expected.items():
            value = settings.NEW_DEFAULTS.get(setting, value)
            assert actual[name][setting] == value, f"{name}: {setting}"
