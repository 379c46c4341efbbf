"""The flags of all commands and the settings of all configs, with their defaults."""

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from typing import Any

from tests import preloaded
from tests.golden import golden_commands as golden

MODULES = (
    *("pipeline.encode", "pipeline.prepare", "pipeline.synthesize", "pipeline.verify"),
    *("trainer.doctor", "trainer.evaluate", "trainer.export", "trainer.generate"),
    *("trainer.launch", "trainer.report", "trainer.sweep", "trainer.tensorboard"),
    "trainer.train",
)
# The defaults of these flags are the number of cores of the machine.
_OF_MACHINE = (("pipeline.encode", "num_workers"), ("pipeline.prepare", "num_workers"))


def flags_of(module: str) -> dict[str, dict[str, Any]]:
    """Returns type, default and allowed values of a command's flags, keyed by name."""
    # `--helpxml` lists the flags of all modules; `--help` lists only the command's own.
    done = subprocess.run(
        [preloaded.shared_python(), "-m", module, "--helpxml"],
        cwd=golden.ROOT,
        capture_output=True,
        text=True,
    )
    actual = {}
    for flag in ElementTree.fromstring(done.stdout).iter("flag"):
        name = flag.findtext("name", "")
        if not _is_ours(flag.findtext("file", "")):
            continue
        actual[name] = {
            "type": flag.findtext("type"),
            "default": flag.findtext("default"),
            "values": sorted(each.text or "" for each in flag.iter("enum_value")),
        }
        if (module, name) in _OF_MACHINE:
            del actual[name]["default"]
    return actual


def _is_ours(file: str) -> bool:
    """Returns whether this repository defines a flag, by the flag's file or module."""
    return file.startswith((f"{golden.ROOT}/", "pipeline.", "trainer."))


def configs() -> dict[str, dict[str, Any]]:
    """Returns the settings of every config by file name, each keyed by its path."""
    names = sorted(path.stem for path in (golden.ROOT / "configs").glob("[a-z]*.py"))
    program = "\n".join(
        [
            "import importlib, json, sys",
            "found = {}",
            "for name in sys.argv[1:]:",
            "    config = importlib.import_module(f'configs.{name}').get_config()",
            "    found[name] = json.loads(config.to_json())",
            "print(json.dumps(found))",
        ]
    )
    done = subprocess.run(
        [preloaded.shared_python(), "-c", program, *names],
        cwd=golden.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: _flat(body) for name, body in json.loads(done.stdout).items()}


def _flat(body: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    actual = {}
    for name, value in body.items():
        if isinstance(value, dict):
            actual |= _flat(value, f"{prefix}{name}.")
        else:
            actual[f"{prefix}{name}"] = value
    return actual
