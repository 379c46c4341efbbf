"""Every key of a config is read somewhere, and every config builds a model."""

import ast
import importlib
import math
import pathlib
from collections.abc import Iterable

import pytest
import tensorflow as tf

from trainer.models.vae import make_vae
from trainer.optimization.objectives import make_objective
from trainer.runs import settings

ROOT = pathlib.Path(__file__).parents[1]
NAMES = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__"
)


# Range checks read every key, but use none.
CHECKS = ROOT / "trainer/runs/setting_checks.py"


def keys_read(sources: Iterable[str]) -> set[str]:
    """Returns the keys of a config that Python sources read.

    A key is read as `config.KEY` or `config["KEY"]`. It may also be a field of a
    dataclass that `settings.select` fills, if the sources read the field.
    """
    nodes = [node for text in sources for node in ast.walk(ast.parse(text))]
    attributes = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    ]
    read = {node.attr for node in attributes if is_config(node.value)}
    read |= {
        str(node.slice.value)
        for node in nodes
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.slice, ast.Constant)
        and is_config(node.value)
    }
    selected = {
        ast.unparse(node.args[1])
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings.select"
    }
    fields = {
        statement.target.id
        for node in nodes
        if isinstance(node, ast.ClassDef) and node.name in selected
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
    }
    return read | fields & {node.attr for node in attributes}


def is_config(node: ast.expr) -> bool:
    """Returns whether an expression is a config by its name, such as `run.config`."""
    *owner, name = ast.unparse(node).split(".")
    return name in ("config", "_config", "resolved") and owner != ["tf"]


@pytest.fixture(scope="module")
def read() -> set[str]:
    paths = set((ROOT / "trainer").rglob("*.py")) - {CHECKS}
    return keys_read(path.read_text(encoding="utf-8") for path in paths)


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_read(name: str, read: set[str]) -> None:
    keys = set(importlib.import_module(f"configs.{name}").get_config().keys())
    assert keys <= read, f"nothing reads {sorted(keys - read)}"


def test_neither_messages_nor_assignments_read_a_key() -> None:
    source = """
class Kind:
    field: int
    unread: int

class Other:
    another: int

def work(config):
    raise ValueError(f"--config.message={settings.select(config, Kind).field}")

def change(config):
    config.assigned = {**self._config.group, "text": config["item"]}
    return config.value, other.another
"""
    assert keys_read([source]) == {"field", "group", "item", "value"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_locked_and_makes_a_model(name: str) -> None:
    config = importlib.import_module(f"configs.{name}").get_config()
    assert config.is_locked
    settings.resolve(config, num_replicas=2)
    size = config.base_size * 2 ** len(config.encoder_filters)
    shape = (size, size, 3) if config.encoder_filters else (28, 28, 1)
    vae = make_vae(config, shape)
    z, nothing = tf.zeros([2, config.latent_dim]), tf.zeros([2, 0])
    assert vae.mean_image(z, nothing).shape == (2, *shape)
    assert make_objective(config, math.prod(shape)).describe()
