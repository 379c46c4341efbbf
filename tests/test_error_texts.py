"""Texts of rooms speak of arguments: only commands turn these into flags."""

import ast
import pathlib
import re
from collections.abc import Iterator

from pipeline.process import arguments

ROOT = pathlib.Path(__file__).parents[1]

# A flag, also one with a computed name, whose value stands as {} in a text.
FLAG = re.compile(r"(?<![\w-])--(?:[a-z][\w-]*|\{\})")

# Reasons for flags in a room, by module. A module may have the listed flags; * is any.
EXCEPTIONS: dict[str, tuple[str, str]] = {
    "pipeline/jobs/execution.py": ("num_workers", "passes a flag on to Beam"),
    "pipeline/jobs/job_servers.py": ("*", "Beam's flags"),
    "pipeline/jobs/local_runner.py": ("{}", "looks for a flag of Beam"),
    "pipeline/jobs/runners.py": ("*", "Beam's flags"),
    "pipeline/jobs/source_flags.py": ("*", "defines flags"),
    "pipeline/latents/encoder.py": ("build-arg", "a flag of docker"),
    "pipeline/process/arguments.py": ("{}", "makes flags of arguments"),
    "pipeline/process/command_help.py": ("{} helpfull", "shows flags"),
    "pipeline/process/entry.py": ("{} help", "rewords absl's errors of flags"),
    "pipeline/process/path_flags.py": ("{}", "makes a whole command line"),
    "pipeline/sources/tfds/tfds_info.py": (
        "file_format out_file_format",
        "flags of tfds",
    ),
    "pipeline/storage/buckets/s3.py": ("s3_endpoint_url", "a flag of Beam"),
    "trainer/distribution/cluster.py": ("ntasks-per-node", "a flag of srun"),
    "trainer/distribution/loopback.py": ("net", "a flag of unshare"),
    "trainer/distribution/strategies.py": ("query-gpu format", "flags of nvidia-smi"),
    "trainer/operations/sweep_plan.py": ("config workdir", "flags of a run's process"),
    "trainer/reporting/html/comparison.py": ("{}", "the page names settings as flags"),
    "trainer/reporting/html/tables.py": ("{}", "the page names settings as flags"),
    "trainer/reporting/summaries.py": ("{}", "the card names settings as flags"),
    "trainer/reporting/tensorboard_server.py": (
        "load_fast logdir host samples_per_plugin port",
        "flags of TensorBoard",
    ),
    "trainer/runs/environment.py": ("kernel_variable", "only a command can set it"),
}


def rooms() -> list[pathlib.Path]:
    """Returns the modules of all rooms but `trainer/cli`, which is about flags."""
    inner = [
        *(ROOT / "pipeline").glob("*/**/*.py"),
        *(ROOT / "trainer").glob("*/**/*.py"),
    ]
    assert len(inner) > 200
    rest = [path for path in inner if ROOT / "trainer/cli" not in path.parents]
    return sorted([ROOT / "pipeline/contract.py", *rest])


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and text of every string but docstrings; {} stands for a value."""
    inside = set()
    # `ast.walk` yields a node before its children.
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            inside.update(node.values)
            parts = [getattr(part, "value", "") for part in node.values]
            yield node.lineno, "".join(p if isinstance(p, str) else "{}" for p in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node not in inside:
                yield node.lineno, node.value


def flags_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and name of every flag in a text, except in whole command lines."""
    for line, text in texts(tree):
        if "python -m " not in text:
            yield from ((line, flag[2:]) for flag in FLAG.findall(text))


def test_rooms_name_no_flags() -> None:
    wrong, needed = [], {}
    for path in rooms():
        name = str(path.relative_to(ROOT))
        allowed = EXCEPTIONS.get(name, ("", ""))[0].split()
        for line, flag in flags_of(ast.parse(path.read_text(encoding="utf-8"))):
            known = "*" if allowed == ["*"] else flag
            needed.setdefault(name, set()).add(known)
            if known not in allowed:
                wrong.append(f"{name}:{line}: --{flag}")
    assert wrong == []
    # No exception stays longer than it is needed.
    assert needed == {
        name: set(names.split()) for name, (names, _) in EXCEPTIONS.items()
    }


def test_rooms_speak_of_calls() -> None:
    # These texts are only for commands.
    own = ("arguments.py", "execution.py", "interrupts.py")
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase}"
        for path in rooms()
        if path.name not in own
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
        for phrase in arguments.PHRASES.values()
        if phrase in text
    ]
    assert found == []


def test_a_flag_in_a_text_is_found() -> None:
    program = '''
"""Reads --input."""
TEXT = "give --overwrite"
def check(name):
    """Checks --seed."""
    raise ValueError(f"--{name}={name} of --config.a, not a--b" f": {len('--d')}")
HELP = "run python -m trainer.train --workdir=x"
'''
    found = [name for _, name in flags_of(ast.parse(program))]
    assert found == ["overwrite", "{}", "config", "d"]
