"""Errors in a config file, or in the settings that flags change in it.

The flags of `ml_collections` raise any exception of the file. For an unknown setting
they report little more than its name. So this module looks for both kinds of errors
again, and explains them in one line.
"""

import difflib
import importlib.util
import os
import pathlib
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from pipeline.process import path_flags


class ConfigError(ValueError):
    """Error in a config file; the text names the flag."""


def expanded(argv: Sequence[str]) -> list[str]:
    """Returns flags whose `--config` is a path.

    `~` is expanded, as in flags of `path_flags`. A packaged config may be given by its
    name, such as `celeba`, unless the working directory has a file of this name.

    Args:
        argv: The program name and its flags.

    Raises:
        ValueError: If the path begins with `~` and the name of an unknown user.
    """
    changed = list(argv)
    for place, text in enumerate(argv):
        if match := re.match(r"--?config=", text):
            changed[place] = match[0] + _path(text[match.end() :])
        elif place and re.fullmatch(r"--?config", argv[place - 1]):
            changed[place] = _path(text)
    return changed


def _path(text: str) -> str:
    """Returns the path that `--config` stands for, with the config's own argument."""
    if text.startswith("~"):
        return path_flags.parse(text)
    name, *rest = text.split(":", 1)
    if name in packaged() and not os.path.exists(name):
        name = packaged()[name]
    return ":".join([name, *rest])


def packaged() -> dict[str, str]:
    """Returns the paths of the configs that are installed with the trainer, by name."""
    # Found beside this package: a directory `configs` of the user may hide the module.
    folder = pathlib.Path(__file__).parents[2] / "configs"
    paths = sorted(folder.glob("*.py"))
    return {path.stem: str(path) for path in paths if path.stem != "__init__"}


def check(argv: Sequence[str]) -> None:
    """Checks the config file in the flags, and the names of the settings they change.

    Args:
        argv: The program name and its flags. Without `--config` nothing is checked.

    Raises:
        ConfigError: If the file is missing, fails or returns no `ConfigDict`, or a
            setting is unknown.

    Example:
        >>> check(["train", "--config=configs/celeba.py", "--config.latent_dims=3"])
        Traceback (most recent call last):
        ...
        trainer.cli.config_files.ConfigError: --config.latent_dims is not a setting of \
configs/celeba.py: did you mean --config.latent_dim or --config.latent_weight?
    """
    argv = flags.FLAGS.read_flags_from_files(list(argv), force_gnu=False)
    joined = "\n".join(argv)
    files = re.findall(r"^--?config[=\n](.*)$", joined, re.MULTILINE)
    if not files:
        return
    # The text after a colon is the argument of the file's `get_config`.
    path, *arguments = files[-1].split(":", 1)
    settings = dict(_settings(_load(path, arguments)))
    single = [name for name in settings if not isinstance(settings[name], ConfigDict)]
    for name in re.findall(r"^--?(?:no)?config\.([^=\n]+)", joined, re.MULTILINE):
        if name not in settings:
            close = difflib.get_close_matches(name, single, n=2)
            remedy = (
                f"did you mean {' or '.join(f'--config.{one}' for one in close)}?"
                if close
                else f"its settings are {', '.join(single)}"
            )
            raise ConfigError(f"--config.{name} is not a setting of {path}: {remedy}")


def _load(path: str, arguments: Sequence[str]) -> ConfigDict:
    if not pathlib.Path(path).is_file():
        close = difflib.get_close_matches(pathlib.Path(path).stem, packaged(), n=2)
        raise ConfigError(
            f"--config={path} does not exist"
            + (f" (did you mean {' or '.join(close)}?)" if close else "")
            + ": give a Python file that has a function get_config, or one of "
            + ", ".join(packaged())
        )
    spec = importlib.util.spec_from_file_location("config_file", path)
    if spec is None or spec.loader is None:
        raise ConfigError(
            f"--config={path} is not a Python file: its name must end in .py"
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise ConfigError(f"--config={path} has no function get_config")
        config = module.get_config(*arguments)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"--config={path} fails: {_described(error, path)}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(
            f"--config={path} returns {config!r:.80} from get_config, which must "
            "return a ConfigDict"
        )
    return config


def _described(error: Exception, path: str) -> str:
    """Returns an error's text, and the line of the config file that raised it."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno} of {error.filename})"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == path
    ]
    text = " ".join(str(error).split())
    where = f" (line {lines[-1]} of {path})" if lines else ""
    return f"{type(error).__name__}: {text}{where}"


def _settings(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the name and value of every setting and of every group of settings."""
    for name, value in config.items(preserve_field_references=True):
        yield prefix + name, value
        if isinstance(value, ConfigDict):
            yield from _settings(value, f"{prefix}{name}.")
