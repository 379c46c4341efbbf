"""Runs of a sweep: every combination of the values of the swept settings."""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from trainer.cli import command_line

_MAX_NAME_BYTES = 255


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        workdir: Directory of the run, named after its values.
        values: Values of the settings that the sweep changes, as the config reads
            them.
        train_flags: Flags of trainer.train for this run.
        config: All settings, not resolved.
    """

    workdir: pathlib.Path
    values: Mapping[str, Any]
    train_flags: tuple[str, ...]
    config: ConfigDict

    @property
    def name(self) -> str:
        """Name of the run, as `latent_dim=2,learning_rate=0.001`."""
        return self.workdir.name


def make_plan(
    sweeps: Sequence[str], train_flags: Sequence[str], sweep_dir: pathlib.Path
) -> list[Run]:
    """Returns the runs of a sweep; the last setting changes fastest.

    Args:
        sweeps: NAME=VALUE,VALUE,... for each setting.
        train_flags: Flags of trainer.train for all runs, including `--config`.
        sweep_dir: Parent of the runs' directories.

    Raises:
        ValueError: If a setting is unknown or given twice, its values are malformed or
            of a wrong type, two runs would be the same, or the name of a run's
            directory would be too long.
    """
    choices: dict[str, list[str]] = {}
    for text in sweeps:
        name, _, values = text.partition("=")
        if name in choices:
            raise ValueError(
                f"sweep={name} is given twice: give all its values in one argument, "
                "separated by commas"
            )
        choices[name] = split_values(values)
        if not name or not choices[name]:
            raise ValueError(
                f"sweep={text} must be NAME=VALUE,VALUE,... without empty values "
                "and with balanced parentheses"
            )
        for value in choices[name]:
            _read(train_flags, {name: value})
    runs: dict[str, Run] = {}
    for combination in itertools.product(*choices.values()):
        changed = dict(zip(choices, combination, strict=True))
        config = _read(train_flags, changed)
        values = {name: _value(config, name) for name in changed}
        called = ",".join(f"{name}={readable(v)}" for name, v in values.items())
        if called in runs:
            raise ValueError(
                f"`sweep` makes the run {called} twice: give every value once"
            )
        if len(called.encode()) > _MAX_NAME_BYTES:
            raise ValueError(
                f"`sweep` makes a run whose directory name, {called}, exceeds "
                f"{_MAX_NAME_BYTES} bytes: sweep fewer settings at once"
            )
        path = sweep_dir / called
        runs[called] = Run(
            path,
            values,
            (*train_flags, *_as_flags(changed), f"--workdir={path}"),
            config,
        )
    return list(runs.values())


def split_values(text: str) -> list[str]:
    """Returns the values of a text, split at the commas outside brackets.

    Returns:
        Values as text; an empty list if a value or a bracket is missing.

    Example:
        >>> split_values("1e-3,3e-4"), split_values("(32,64),(64,)"), split_values("1,")
        (['1e-3', '3e-4'], ['(32,64)', '(64,)'], [])
    """
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if depth < 0:
            return []
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts if not depth and all(parts) else []


def readable(value: Any) -> str:
    """Returns a setting's value as text for a directory name.

    Example:
        >>> readable(1e-3), readable((32, 64)), readable("max_pool"), readable("a/b")
        ('0.001', '(32,64)', 'max_pool', 'a_b')
    """
    if isinstance(value, tuple | list):
        return f"({','.join(map(readable, value))})"
    text = value if isinstance(value, str) else repr(value)
    return re.sub(r"[^\w.,=()+-]", "_", text)


def _as_flags(changed: Mapping[str, str]) -> list[str]:
    return [f"--config.{name}={value}" for name, value in changed.items()]


def _read(train_flags: Sequence[str], changed: Mapping[str, str]) -> ConfigDict:
    """Returns the settings of a run as trainer.train will read them."""
    argv = ["sweep", *train_flags, *_as_flags(changed)]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        values(argv, known_only=True)
        return values.config
    # A config file is Python code and may raise any exception.
    except Exception as error:
        settings = ", ".join(f"{name}={value}" for name, value in changed.items())
        text = command_line.explain(error, argv)
        raise ValueError(f"sweep={settings}: {text}") from error


def _value(config: ConfigDict, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = value[part]
    return value
