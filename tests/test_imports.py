"""Side effects of an import, and imports or calls by name.

import-linter checks the direction of imports, in `make lint`.
"""

import ast
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


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
    actual = sorted((ROOT / package).rglob("*.py"))
    assert actual
    return actual


@pytest.mark.parametrize("path", files("configs"), ids=str)
def test_configs_hold_values_only(path: pathlib.Path) -> None:
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert roots <= {"ml_collections", "configs"}


def test_the_contract_imports_nothing_of_ours() -> None:
    names = imported_modules(ROOT / "pipeline/contract.py")
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


def modules(folder: str) -> str:
    """Returns the names of the modules in a folder, separated by spaces."""
    return " ".join(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / folder).glob("*.py"))
        if path.name != "__init__.py"
    )


# Each entry runs in its own process. With several modules in one entry, the process
# names the first module that imports an unwanted library.
@pytest.mark.parametrize(
    ("names", "absent"),
    [
        ("pipeline", ["tensorflow", "apache_beam", "numpy", "absl", "typing"]),
        ("pipeline.api.datasets", ["tensorflow", "apache_beam"]),
        ("pipeline.contract", ["tensorflow", "apache_beam", "numpy"]),
        ("pipeline.process.entry", ["tensorflow", "apache_beam", "numpy"]),
        ("pipeline.storage.files", ["tensorflow", "apache_beam", "numpy"]),
        ("pipeline.process.interrupts", ["absl", "typing", "re", "tempfile"]),
        ("trainer.cli.console", ["absl", "numpy", "tensorflow", "apache_beam"]),
        # A command imports Beam once its flags are right.
        ("pipeline.prepare", ["tensorflow", "keras", "apache_beam"]),
        ("pipeline.encode", ["tensorflow", "keras", "apache_beam"]),
        ("pipeline.jobs.graph", ["tensorflow", "keras"]),
        ("pipeline.verify", ["tensorflow", "apache_beam"]),
        ("pipeline.synthesize", ["tensorflow", "apache_beam"]),
        (
            "pipeline.storage.paths",
            ["tensorflow", "apache_beam", "boto3", "google.cloud"],
        ),
        ("trainer.train", ["numba", "numpy"]),
        ("pipeline trainer", ["tensorflow", "keras", "apache_beam", "numpy"]),
        # A command loads TensorFlow once its flags are right.
        *(
            (command, ["tensorflow", "keras", "apache_beam", "matplotlib", "sklearn"])
            for command in modules("trainer").split()
        ),
        (
            "trainer.runs.settings trainer.runs.setting_checks "
            "trainer.runs.metrics_file",
            ["tensorflow", "keras", "numpy"],
        ),
        (
            "trainer.reporting.html.page trainer.runs.checkpoints "
            "trainer.data.shuffling",
            ["tensorflow", "keras", "matplotlib"],
        ),
        (
            f"trainer.analysis.image_metrics {modules('trainer/analysis/latents')}",
            ["tensorflow", "keras", "matplotlib"],
        ),
    ],
)
def test_what_an_import_does_not_bring_along(names: str, absent: list[str]) -> None:
    program = f"""
import importlib, sys
for module in {names.split()!r}:
    importlib.import_module(module)
    found = [name for name in {absent!r} if name in sys.modules]
    if found:
        sys.exit(f"{{module}} brings {{found}}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_rooms_without_tensorflow_are_there() -> None:
    assert "trainer.train" in modules("trainer").split()
    assert "trainer.analysis.latents.pca" in modules("trainer/analysis/latents").split()


# State of a program that an import could change.
STATE = """
import contextlib, gc, importlib, json, logging, os, signal, sys, warnings

def open_files():
    found = {}
    for number in range(64):
        with contextlib.suppress(OSError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found

def loggers():
    known = logging.root.manager.loggerDict
    found = [logging.root, *(known[name] for name in known)]
    return [
        (each.name, each.level, list(each.handlers), list(each.filters))
        for each in found
        if isinstance(each, logging.Logger)
        and (each.level or each.handlers or each.filters)
    ]

def style():
    matplotlib = sys.modules.get("matplotlib")
    return matplotlib and dict(dict.items(matplotlib.rcParams))

def state():
    return {
        "files": open_files(),
        "threads": os.listdir("/proc/self/task"),
        "gc": (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()),
        "loggers": loggers(),
        "variables": dict(os.environ),
        "signals": [signal.getsignal(each) for each in signal.valid_signals()],
        "hooks": (sys.excepthook, sys.displayhook),
        "warnings": list(warnings.filters),
        "style": style(),
    }

def changes(before):
    after = state()
    return [name for name in before if before[name] != after[name]]
"""


def in_a_fresh_process(program: str, *arguments: str) -> str:
    """Returns the output of a program that begins with `STATE`."""
    done = subprocess.run(
        [sys.executable, "-c", STATE + program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_an_import_changes_nothing_of_a_program(package: str) -> None:
    program = """
before = state()
importlib.import_module(sys.argv[1])
print(changes(before))
"""
    assert in_a_fresh_process(program, package) == "[]\n"


@pytest.mark.slow
def test_no_module_changes_a_program_that_imports_it() -> None:
    """Imports the libraries first, so their own changes do not count."""
    ours = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("pipeline", "trainer")
        for path in files(package)
    ]
    ours = [name.removesuffix(".__init__") for name in ours]
    libraries = {
        name
        for package in ("pipeline", "trainer")
        for path in files(package)
        for name in imported_modules(path)
        if name.split(".")[0] not in ("pipeline", "trainer", "configs")
    }
    program = """
from absl import flags
libraries, ours = map(json.loads, sys.argv[1:])
for name in libraries:
    # The last part may be a function.
    for module in (name, name.rpartition(".")[0]):
        with contextlib.suppress(ImportError, ValueError):
            importlib.import_module(module)
            break
others = set(flags.FLAGS)
before = state()
found = {}
for name in ours:
    # Two commands may have a flag of one name.
    flags.FLAGS.remove_flag_values(set(flags.FLAGS) - others)
    importlib.import_module(name)
    if changes(before):
        found[name] = changes(before)
        before = state()
print(found, file=sys.__stdout__)
"""
    text = in_a_fresh_process(program, json.dumps(sorted(libraries)), json.dumps(ours))
    assert text.splitlines()[0] == "{}"


# Calls that turn a name or bytes into code. Each value says who chooses the code; an
# input file never does.
BY_NAME = {
    (
        "pipeline/storage/buckets/__init__.py",
        "import_module",
    ): "our table",
    (
        "pipeline/latents/encoder.py",
        "saved_model.load",
    ): "what --model gives",
    (
        "pipeline/sources/image_table.py",
        "pickle.load",
    ): "this process wrote it",
    ("pipeline/sources/__init__.py", "import_module"): "our own table, by --source",
    (
        "pipeline/images/user_function.py",
        "import_module",
    ): "--preprocess",
    ("trainer/cli/config_files.py", "exec_module"): "the file that --config gives",
    ("trainer/runs/flagship.py", "exec_module"): "our own file, configs/celeba.py",
}
CODE_FROM_DATA = {
    *("__import__", "eval", "exec", "exec_module", "import_module", "load_model"),
    *("pickle.load", "pickle.loads", "saved_model.load", "Unpickler", "unsafe_load"),
    *("deserialize_keras_object", "model_from_json", "load_library", "run_path"),
}
UNPICKLING = {"cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}


@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_no_file_names_what_is_run(package: str) -> None:
    actual = set()
    for path in files(package):
        name = str(path.relative_to(ROOT))
        assert not {n.split(".")[0] for n in imported_modules(path)} & UNPICKLING
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            ends = {called.split(".", at)[-1] for at in range(called.count(".") + 1)}
            actual |= {(name, end) for end in ends & CODE_FROM_DATA}
            if ends & {"np.load", "read_array"}:
                arguments = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert arguments.get("allow_pickle") == "False", f"{name}: {called}"
    assert actual == {key for key in BY_NAME if key[0].startswith(package)}


def test_modules_of_earlier_releases_are_found() -> None:
    import pipeline
    from pipeline.images import rgb, squares

    assert pipeline.rgb is rgb
    assert pipeline.images.preprocess is squares.preprocess
    with pytest.raises(AttributeError, match="'pipeline' has no attribute 'colours'"):
        pipeline.colours  # noqa: B018
