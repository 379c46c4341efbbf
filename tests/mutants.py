"""Changes the code in small ways, and counts the changes that no test notices.

python -m tests.mutants
python -m tests.mutants --only=optimization/losses
python -m tests.mutants --since=HEAD~1 --most=100

Such a change is a mutant; a test that fails kills it. Cosmic Ray makes the mutants. The
tests of each file are in `MODULES`. A mutant that changes nothing that a caller can see
is equivalent: `docs/development/mutants.md` lists these with the reasons. The exit code
is 1 if the tests of a file kill fewer than nine mutants in ten. With `--most`, too few
mutants of a file are tried for a score, and all files are judged together.

Results are kept in `.mutants.jsonl`. A mutant is tried again if its file or the tests
changed.
"""

import argparse
import ast
import concurrent.futures
import contextlib
import dataclasses
import difflib
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from tests import preloaded
from tests.workshop import PASSED, ROOT, Workshop, find_tests

GOAL = 0.9
RESULTS = ROOT / ".mutants.jsonl"
PAGE = ROOT / "docs/development/mutants.md"
# Tests that end may take this long.
TIMEOUT_SECS = 300
# A mutant that makes a test wait forever is killed by a time limit: these seconds, and
# so many times the seconds of the tests without a mutant.
SPARE_SECS, TIMES = 15, 5

_LATENTS = "trainer/analysis/latents/"
_LIKELIHOODS = "trainer/models/likelihoods/"
# Files whose mutants must die, and their tests, in the order in which they run.
MODULES: Mapping[str, Sequence[str]] = {
    "trainer/optimization/losses.py": ("test_losses.py",),
    "trainer/optimization/objectives.py": ("test_objectives.py",),
    "trainer/optimization/schedules.py": ("test_schedules.py",),
    f"{_LIKELIHOODS}__init__.py": ("test_likelihoods.py",),
    f"{_LIKELIHOODS}base.py": ("test_likelihoods.py",),
    f"{_LIKELIHOODS}bernoulli.py": ("test_likelihoods.py",),
    f"{_LIKELIHOODS}gaussian.py": ("test_likelihoods.py",),
    f"{_LIKELIHOODS}logistic_mixture.py": ("test_likelihoods.py",),
    "trainer/data/shuffling.py": ("test_shuffling.py", "test_lanes.py"),
    "trainer/numerics/permutations.py": ("test_permutations.py",),
    "trainer/training/gradients.py": ("test_gradients.py",),
    "trainer/training/steps.py": (
        "test_steps.py",
        "test_moving_average.py",
        "test_gradients.py::"
        "test_the_gradient_of_a_sum_is_that_of_a_mean_times_the_batch_size",
    ),
    "trainer/analysis/image_metrics.py": ("test_image_metrics.py",),
    "trainer/analysis/latent_scores.py": ("test_latent_scores.py",),
    f"{_LATENTS}directions.py": ("test_directions.py",),
    f"{_LATENTS}disentanglement.py": ("test_disentanglement.py",),
    f"{_LATENTS}factors.py": ("test_factor_files.py",),
    f"{_LATENTS}mixture.py": ("test_mixture.py",),
    f"{_LATENTS}neighbours.py": ("test_neighbours.py",),
    f"{_LATENTS}pca.py": ("test_pca.py",),
    f"{_LATENTS}probe.py": ("test_probe.py",),
    f"{_LATENTS}usage.py": ("test_usage.py",),
    "pipeline/planning/dataset_settings.py": ("test_dataset_settings.py",),
    "pipeline/planning/plan.py": ("test_plan.py",),
    "pipeline/planning/plan_files.py": ("test_plan_files.py",),
    "pipeline/formats/records.py": ("test_records.py", "test_record_reader.py"),
    "pipeline/images/resizing.py": ("test_resizing.py",),
    "pipeline/images/filters.py": ("test_filters.py", "test_resizing.py"),
    "pipeline/images/resize_loops.py": ("test_resize_loops.py",),
}

# Cosmic Ray has up to twelve replacements for each operator. One stands for all of an
# arithmetic operator. A comparison has two: at its boundary, and its negation.
# ExceptionReplacer is left out, because it fails on a dotted name, `except a.Error`.
_ARITHMETIC = (
    "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_FloorDiv Pow_Mul LShift_RShift "
    "RShift_LShift BitOr_BitAnd BitAnd_BitOr BitXor_BitAnd"
)
_COMPARISONS = (
    "Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Eq_NotEq NotEq_Eq "
    "Is_IsNot IsNot_Is"
)
_OTHERS = (
    "ReplaceUnaryOperator_USub_UAdd ReplaceUnaryOperator_Delete_Not AddNot "
    "ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd "
    "ReplaceBreakWithContinue ReplaceContinueWithBreak NumberReplacer RemoveDecorator "
    "ZeroIterationForLoop"
)
OPERATORS = (
    *(f"core/ReplaceBinaryOperator_{name}" for name in _ARITHMETIC.split()),
    *(f"core/ReplaceComparisonOperator_{name}" for name in _COMPARISONS.split()),
    *(f"core/{name}" for name in _OTHERS.split()),
)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A changed file.

    Attributes:
        path: File, relative to the checkout.
        line: Number of the first changed line, counted from 1.
        old: Changed lines before the change, without the space around them.
        new: The same lines after it.
        text: Whole text of the changed file.
    """

    path: str
    line: int
    old: str
    new: str
    text: str = dataclasses.field(repr=False)

    def key(self, tests: str) -> str:
        """Returns a digest of the mutant and of its tests' digest."""
        return hashlib.sha256(f"{tests}\n{self.text}".encode()).hexdigest()[:20]


def make_mutants(path: str, text: str) -> list[Mutant]:
    """Returns all mutants of a file, in the order of its lines.

    Mutants of type annotations, and of the star between parameters, are left out:
    nothing runs them.

    Args:
        path: File, relative to the checkout.
        text: Text of the file.
    """
    nodes = list(ast_nodes(get_ast(text)))
    ignored = list(_not_run(ast.parse(text)))
    found: dict[str, Mutant] = {}
    for name in OPERATORS:
        operator = plugins.get_operator(name)()
        places = [
            place for each in nodes for place in operator.mutation_positions(each)
        ]
        for occurrence, ((line, column), _) in enumerate(places):
            if any(start <= (line, column) < end for start, end in ignored):
                continue
            changed = mutate_code(text, operator, occurrence)
            if changed is not None and changed != text:
                found[changed] = _mutant(path, text, changed)
    return sorted(found.values(), key=lambda each: (each.line, each.new))


def _not_run(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if isinstance(part, ast.expr):
                yield (part.lineno, part.col_offset), _end(part)
        if isinstance(node, ast.FunctionDef) and node.args.kwonlyargs:
            first = node.args.kwonlyargs[0]
            before = [*node.args.args, *node.args.defaults]
            start = max(map(_end, before), default=(node.lineno, node.col_offset))
            yield start, (first.lineno, first.col_offset)


def _end(node: ast.expr | ast.arg) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0


def _mutant(path: str, text: str, changed: str) -> Mutant:
    lines, others = text.splitlines(), changed.splitlines()
    matcher = difflib.SequenceMatcher(None, lines, others, autojunk=False)
    _, a, b, c, d = next(op for op in matcher.get_opcodes() if op[0] != "equal")
    old, new = (" ".join(" ".join(part).split()) for part in (lines[a:b], others[c:d]))
    return Mutant(path, a + 1, old, new, changed)


def tests_of(path: str) -> list[str]:
    """Returns the arguments of pytest that choose the tests of a file."""
    frozen = find_tests(["test_dataclasses.py::test_dataclasses_are_frozen"])
    return [f"{frozen[0]}[{path}]", *find_tests(MODULES[path])]


def read_equivalent(page: str) -> dict[tuple[str, str, str], str]:
    """Returns the reasons of the equivalent mutants, keyed by path, old and new.

    Args:
        page: Text of `docs/development/mutants.md`. It has a section for each file,
            and in it a line for each mutant: "- `OLD` -> `NEW`: REASON".
    """
    found, path = {}, ""
    for line in page.splitlines():
        if section := re.fullmatch(r"### `(.*)`", line):
            path = section[1]
        elif row := re.fullmatch(r"- ``? ?(.*?) ?``? -> ``? ?(.*?) ?``?: (.*)", line):
            found[path, row[1], row[2]] = row[3]
    return found


def tests_digest(arguments: Iterable[str]) -> str:
    """Returns a digest of test files."""
    digest = hashlib.sha256()
    for argument in arguments:
        digest.update((ROOT / argument.partition("::")[0]).read_bytes())
    return digest.hexdigest()


def judge(
    mutant: Mutant, arguments: Sequence[str], workshop: Workshop, limit_secs: float
) -> str:
    """Returns `killed`, `timeout` or `survived`."""
    changed = mutant.path, mutant.text
    try:
        done = workshop.run(arguments, limit_secs, changed)
    except subprocess.TimeoutExpired:
        return "timeout"
    return "survived" if done.returncode == PASSED else "killed"


def choose(mutants: Sequence[Mutant], most: int) -> list[Mutant]:
    """Returns at most `most` mutants, spread over the file; all if `most` is 0."""
    step = max(1, -(-len(mutants) // most)) if most else 1
    return list(mutants[::step])


def table(verdicts: Mapping[str, Sequence[str]]) -> str:
    """Returns a Markdown table of the verdicts on the mutants of each file."""
    lines = ["| file | mutants | killed | survived | score |", "|---|--:|--:|--:|--:|"]
    total: list[str] = []
    for path, of_path in verdicts.items():
        lines.append(_row(f"`{path}`", of_path))
        total += of_path
    return "\n".join([*lines, _row("all", total)])


def too_low(
    verdicts: Mapping[str, Sequence[str]], *, is_sample: bool = False
) -> list[str]:
    """Returns the files whose tests kill too few mutants.

    Args:
        verdicts: Verdicts on the mutants of each file.
        is_sample: Whether the verdicts are on some mutants only. Then all files are
            named if too few mutants of all of them together were killed.
    """
    if is_sample:
        every = [verdict for of_path in verdicts.values() for verdict in of_path]
        return list(verdicts) if _score(every) < GOAL else []
    return [path for path, of_path in verdicts.items() if _score(of_path) < GOAL]


def _row(name: str, verdicts: Sequence[str]) -> str:
    survived = verdicts.count("survived")
    number, killed = len(verdicts), len(verdicts) - survived
    return f"| {name} | {number} | {killed} | {survived} | {_score(verdicts):.1%} |"


def _score(verdicts: Sequence[str]) -> float:
    return 1 - verdicts.count("survived") / max(1, len(verdicts))


def changed_files(since: str) -> list[str]:
    """Returns the files that differ from a commit.

    Raises:
        subprocess.CalledProcessError: If there is no such commit.
    """
    command = ["git", "diff", "--name-only", since]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return done.stdout.splitlines()


def read_known() -> dict[str, str]:
    """Returns the verdicts of earlier runs, keyed by `Mutant.key`."""
    if not RESULTS.exists():
        return {}
    known = {}
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        # A run that was killed may have left half a line.
        with contextlib.suppress(ValueError):
            key, verdict = json.loads(line)
            known[key] = verdict
    return known


def judge_file(
    path: str, most: int, known: dict[str, str], workshop: Workshop, limit_secs: float
) -> list[str]:
    """Judges the mutants of a file, and prints those that survive.

    Args:
        path: File, relative to the checkout.
        most: Largest number of mutants to try; 0 tries all.
        known: Verdicts of earlier runs, keyed by `Mutant.key`; new ones are added, here
            and in `RESULTS`.
        workshop: Copies of the checkout.
        limit_secs: Seconds after which a mutant is killed.

    Returns:
        The verdicts.
    """
    arguments = tests_of(path)
    digest = tests_digest(arguments)
    mutants = choose(make_mutants(path, (ROOT / path).read_text("utf-8")), most)
    equivalent = read_equivalent(PAGE.read_text("utf-8"))

    def judged(mutant: Mutant) -> str:
        key = mutant.key(digest)
        return known.get(key) or judge(mutant, arguments, workshop, limit_secs)

    verdicts = []
    with (
        RESULTS.open("a", encoding="utf-8") as results,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        for mutant, verdict in zip(mutants, pool.map(judged, mutants), strict=True):
            verdicts.append(verdict)
            key = mutant.key(digest)
            if key not in known:
                known[key] = verdict
                print(json.dumps([key, verdict]), file=results, flush=True)
            if verdict == "survived":
                reason = equivalent.get((path, mutant.old, mutant.new), "SURVIVED")
                print(f"{path}:{mutant.line}: {reason}")
                print(f"- `{mutant.old}` -> `{mutant.new}`", flush=True)
    return verdicts


def _limit_secs(path: str, workshop: Workshop) -> float:
    start = time.monotonic()
    done = workshop.run(tests_of(path), TIMEOUT_SECS)
    if done.returncode != PASSED:
        sys.exit(f"the tests of {path} fail without any mutant:\n{done.stdout}")
    return SPARE_SECS + TIMES * (time.monotonic() - start)


def main() -> None:
    """Judges the mutants of the chosen files."""
    parser = argparse.ArgumentParser(description="Counts changes that no test notices.")
    parser.add_argument("--only", default="", help="Part of the paths to choose.")
    parser.add_argument("--since", help="Commit: choose the files that differ from it.")
    parser.add_argument("--most", type=int, default=0, help="Mutants of all files.")
    options = parser.parse_args()
    chosen = [path for path in MODULES if options.only in path]
    if options.since:
        changed = changed_files(options.since)
        chosen = [path for path in chosen if path in changed]
    known = read_known()
    num_processes = os.cpu_count() or 1
    with (
        tempfile.TemporaryDirectory(prefix="vaeline-mutants-") as directory,
        preloaded.python() as python,
    ):
        workshop = Workshop(pathlib.Path(directory), python, num_processes)
        verdicts = {}
        for path in chosen:
            secs, most = _limit_secs(path, workshop), -(-options.most // len(chosen))
            verdicts[path] = judge_file(path, most, known, workshop, secs)
    print(table(verdicts))
    low = too_low(verdicts, is_sample=options.most > 0)
    sys.exit(f"error: under {GOAL:.0%}: {', '.join(low)}" if low else 0)


if __name__ == "__main__":
    main()
