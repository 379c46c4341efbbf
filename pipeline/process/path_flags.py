"""Flags whose value is a path, with the same rules in all commands.

    _OUTPUT = path_flags.define("output", None, "Directory to make.")

Shells do not expand `~` after `=`, so this module does. A URL is refused if a command
needs a local path: the command would create a local directory called `gs:`.
"""

import os
import re
import shlex
import urllib.parse
import urllib.request
from typing import Any

from absl import flags

# A flag belongs to the module that calls `define`, not to this one.
flags.disclaim_key_flags()

# Texts that other programs take for a URL, a bucket or another host: `gs://bucket/run`,
# the mistyped `gs:/bucket/run`, `host:/data`.
_REMOTE = re.compile(r"[^/]+:/")


def parse(text: str, *, takes_urls: bool = False) -> str:
    """Returns the path that a user typed, with `~` expanded.

    Args:
        text: A local path, a URL `file:///...`, or another URL.
        takes_urls: Whether other URLs are allowed; they are returned unchanged.

    Raises:
        ValueError: If the text is a URL that is not allowed, or begins with `~` and
            the name of an unknown user.

    Example:
        >>> parse("runs/a"), parse("file:///data/my%20faces")
        ('runs/a', '/data/my faces')
        >>> parse("s3://bucket/faces", takes_urls=True)
        's3://bucket/faces'
    """
    if "\0" in text:
        raise ValueError("a path must not contain a zero byte: give another path")
    if text.lower().startswith("file:"):
        return _local_path(text)
    if _REMOTE.match(text):
        _check_remote(text, takes_urls=takes_urls)
        return text
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ValueError(
            f"{text.split('/')[0]} is not a user's home directory: give the whole "
            f"path, or ./{text} for a directory of that name"
        )
    return path


def _local_path(url: str) -> str:
    """Returns the path of a `file:` URL."""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ValueError(
            "a file: URL must be file:///PATH on this machine: give the path alone"
        )
    return urllib.request.url2pathname(parts.path)


def _check_remote(text: str, *, takes_urls: bool) -> None:
    name, _, rest = text.partition(":/")
    if not takes_urls:
        raise ValueError(
            "this is a URL or a path on another host, but the command takes only "
            "local paths: give a local path, and copy the files yourself "
            f"(./{text} is a local path of that name)"
        )
    if not rest.startswith("/"):
        raise ValueError(
            f"a URL needs two slashes: give {name}://{rest}, or ./{text} for a local "
            "path of that name"
        )


class _Parser(flags.ArgumentParser[str]):
    """Parses the value of a flag with `parse`."""

    def __init__(self, *, takes_urls: bool) -> None:
        """Keeps whether URLs are allowed."""
        self._takes_urls = takes_urls

    def parse(self, argument: str) -> str:
        return parse(argument, takes_urls=self._takes_urls)

    def flag_type(self) -> str:
        return "string"


def define(
    name: str, default: str | None, help: str, *, takes_urls: bool = False, **more: Any
) -> flags.FlagHolder[Any]:
    """Defines a flag whose value is a path.

    Args:
        name: Name of the flag.
        default: Default value.
        help: Text for `--help`.
        takes_urls: Whether the command also accepts URLs of buckets.
        **more: Further arguments of `flags.DEFINE`, such as `required=True`.
    """
    parser = _Parser(takes_urls=takes_urls)
    return flags.DEFINE(parser, name, default, help, **more)


class _ListParser(flags.ListParser):
    """Parses paths that commas separate."""

    def parse(self, argument: str) -> list[str]:
        return [parse(path) for path in super().parse(argument)]


def define_list(name: str, default: str | None, help: str) -> flags.FlagHolder[Any]:
    """Defines a flag whose value is a list of local paths, separated by commas."""
    return flags.DEFINE(
        _ListParser(), name, default, help, serializer=flags.ListSerializer(",")
    )


def command(module: str, **values: object) -> str:
    """Returns a command to print, quoted for a shell.

    Args:
        module: Module that Python runs.
        **values: Values of its flags.

    Example:
        >>> command("trainer.tensorboard", workdir="my runs/a")
        "python -m trainer.tensorboard --workdir='my runs/a'"
    """
    given = [f"--{name}={shlex.quote(str(value))}" for name, value in values.items()]
    return " ".join(["python", "-m", module, *given])
