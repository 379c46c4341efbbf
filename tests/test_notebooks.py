"""Runs the notebooks of docs/notebooks with few steps and little data.

Each notebook runs in a kernel of its own. Its first cell sets the environment variables
that the test has not set. The figures in the notebooks come from full runs.
"""

import os
import pathlib
import re
from collections.abc import Iterator

import nbclient
import nbformat
import numpy as np
import pytest

from tests import preloaded
from tests.pages import ROOT
from tests.pipeline.sources.mnist.mnist_files import Mnist

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
SMALL = {"STEPS": "2", "FACES": "200"}
# Nothing but a hang takes so long.
PATIENCE_SECS = 600


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    with preloaded.python() as program:
        yield program


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    rng = np.random.default_rng(0)
    sizes = {"train": 200, "test": 40}
    digits = Mnist(
        pixels={
            split: rng.integers(0, 256, (number, 28, 28), dtype=np.uint8)
            for split, number in sizes.items()
        },
        labels={split: np.arange(number) % 10 for split, number in sizes.items()},
    )
    return digits.write(tmp_path_factory.mktemp("mnist"))


def read(path: pathlib.Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def num_pictures(notebook: nbformat.NotebookNode) -> list[int]:
    """Returns the number of pictures below each cell."""
    outputs = [cell.get("outputs", []) for cell in notebook.cells]
    return [
        sum("image/" in "".join(output.get("data", {})) for output in below)
        for below in outputs
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_document(path: pathlib.Path) -> None:
    notebook = read(path)
    assert sum(num_pictures(notebook)) >= 3
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    printed = "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"(^|[\s=])/(tmp|home|root|work)/", printed)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    for target in re.findall(r"\]\(([^)#\s]+)", "\n".join(texts)):
        assert path.parent.joinpath(target).exists(), target


def test_the_site_has_every_notebook() -> None:
    site = (ROOT / "docs/mkdocs.yml").read_text(encoding="utf-8")
    names = re.findall(r"docs/notebooks/(\w+)\.md$", site, re.MULTILINE)
    assert sorted(names) == [path.stem for path in NOTEBOOKS]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: pathlib.Path, python: str, mnist: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    notebook = read(path)
    expected = num_pictures(notebook)
    client = nbclient.NotebookClient(
        notebook,
        timeout=PATIENCE_SECS,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(
        env={
            # An earlier test in this process may have set the backend of figures.
            **{name: text for name, text in os.environ.items() if name != "MPLBACKEND"},
            **SMALL,
            "PATH": f"{pathlib.Path(python).parent}:{os.environ['PATH']}",
            "MNIST": str(mnist),
            "WORK": str(tmp_path / "work"),
            "IPYTHONDIR": str(tmp_path / "ipython"),
        }
    )
    assert num_pictures(notebook) == expected
