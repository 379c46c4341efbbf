"""Schemas of custom resources, as the operators publish them.

    python tests/deploy/crds.py

downloads the schemas that deploy/kubernetes/crds.sha256 pins, unless ~/.cache/vaeline
has them.
"""

import functools
import hashlib
import io
import os
import pathlib
import urllib.request
import zipfile
from typing import Any

import jsonschema
import yaml

PINS = pathlib.Path(__file__).parents[2] / "deploy/kubernetes/crds.sha256"
_OF_ALL = ("apiVersion", "kind", "metadata")
_CACHE = pathlib.Path(os.environ.get("VAELINE_CACHE", "~/.cache/vaeline")).expanduser()


def fetch() -> list[pathlib.Path]:
    """Returns the paths of the schema files, after checking their pinned hashes.

    Raises:
        OSError: If a file cannot be downloaded.
        ValueError: If a file's hash differs from the pinned hash.
    """
    actual = []
    for line in PINS.read_text().splitlines():
        if line.startswith("#"):
            continue
        digest, member, url = line.split()
        path = _CACHE / "crds" / f"{digest}.yaml"
        if not path.exists():
            with zipfile.ZipFile(io.BytesIO(_download(url))) as archive:
                data = archive.read(member)
            if hashlib.sha256(data).hexdigest() != digest:
                raise ValueError(f"{member} of {url} differs from its hash in {PINS}")
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_bytes(data)
            partial.rename(path)
        actual.append(path)
    return actual


@functools.cache
def _download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


@functools.cache
def validators() -> dict[tuple[str, str], jsonschema.Draft202012Validator]:
    """Returns validators of resources, keyed by apiVersion and kind."""
    actual = {}
    for path in fetch():
        spec = yaml.load(path.read_bytes(), yaml.CSafeLoader)["spec"]
        for version in spec["versions"]:
            name = f"{spec['group']}/{version['name']}"
            schema = dict(version["schema"]["openAPIV3Schema"])
            # Every resource may have these fields, even if its schema omits them.
            schema["properties"] = dict.fromkeys(_OF_ALL, {}) | schema["properties"]
            schema = _closed(schema)
            actual[name, spec["names"]["kind"]] = jsonschema.Draft202012Validator(
                schema
            )
    return actual


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema that refuses fields it does not name, as `kubectl` does."""
    closed = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            closed[key] = _closed(schema[key])
    if "properties" in schema:
        properties = schema["properties"].items()
        closed["properties"] = {name: _closed(value) for name, value in properties}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    return closed


if __name__ == "__main__":
    for path in fetch():
        print(path)
