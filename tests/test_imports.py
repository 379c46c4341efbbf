"""The direction of imports: configs see nothing, the trainer the contract alone."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
OURS = ("pipeline", "trainer", "configs")


def imported_modules(path: pathlib.Path) -> set[str]:
    """Returns the full names of all modules and members that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(package: str) -> list[pathlib.Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def of_package(names: set[str], package: str) -> set[str]:
    return {n for n in names if n == package or n.startswith(f"{package}.")}


@pytest.mark.parametrize("path", files("trainer"), ids=str)
def test_the_trainer_sees_the_contract_alone(path: pathlib.Path) -> None:
    names = imported_modules(path)
    allowed = {n for n in names if n.startswith("pipeline.contract")}
    assert of_package(names, "pipeline") <= allowed
    assert not of_package(names, "configs")
    assert not of_package(names, "apache_beam")


@pytest.mark.parametrize("path", files("pipeline"), ids=str)
def test_the_pipeline_sees_neither_trainer_nor_tensorflow(path: pathlib.Path) -> None:
    names = imported_modules(path)
    if path == ROOT / "pipeline/encoder.py":
        # An export is a SavedModel, which only TensorFlow runs. It is imported by the
        # worker that loads one, as the imports below tell.
        names.remove("tensorflow")
    for package in ("trainer", "configs", "tensorflow", "keras"):
        assert not of_package(names, package)


@pytest.mark.parametrize("path", files("configs"), ids=str)
def test_configs_hold_values_only(path: pathlib.Path) -> None:
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert roots <= {"ml_collections", "configs"}


def test_the_contract_imports_nothing_of_ours() -> None:
    names = imported_modules(ROOT / "pipeline/contract.py")
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("pipeline.contract", ["tensorflow", "apache_beam", "numpy"]),
        ("pipeline.prepare", ["tensorflow", "keras"]),
        ("pipeline.encode", ["tensorflow", "keras"]),
        ("pipeline.job", ["tensorflow", "keras"]),
        ("pipeline.verify", ["tensorflow", "apache_beam"]),
        ("pipeline.synthesize", ["tensorflow", "apache_beam"]),
        ("pipeline.storage", ["tensorflow", "apache_beam", "boto3", "google.cloud"]),
        ("trainer.train", ["apache_beam", "matplotlib", "numba", "sklearn"]),
    ],
)
def test_what_an_import_does_not_bring_along(module: str, absent: list[str]) -> None:
    program = (
        f"import sys, {module}\n"
        f"print([name for name in {absent!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
