"""Runs every command of the documents as it is shown, on small inputs.

The commands of a page run in order, in a folder with the files that its reader would
have. To make them small, we add flags (`ADDED`) and replace a few words (`REPLACED`).
`NOT_RUN` lists the commands that cannot run here; we check their flags and paths.
"""

import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests import preloaded, reader
from tests.pages import PAGES, ROOT, commands, read

pytestmark = pytest.mark.slow

_SMALL_RUN = (
    "--config.num_train_steps=4",
    "--config.log_every_steps=2",
    "--config.global_batch_size=4",
    # Two devices share the groups; four groups would make a graph of twice the size.
    "--config.num_batch_groups=2",
    "--config.num_picture_pairs=4",
    "--config.num_picture_samples=4",
    "--config.num_picture_traversals=2",
)
# Flags to add to a command line, keyed by a word in it, such as a module. A flag that
# the command line sets itself is not added.
ADDED = {
    "pipeline.prepare": ("--image_size=28", "--shard_size=8"),
    # A page may start a run several times, and every start must have steps left.
    "trainer.launch": ("--config.num_train_steps=6",),
    "--num_processes=2": ("--config.num_train_steps=8",),
    "trainer.train": _SMALL_RUN,
    "trainer.doctor": _SMALL_RUN,
    "trainer.sweep": (
        *_SMALL_RUN[:-1],
        "--config.num_picture_traversals=0",
        "--config.show_neighbours=False",
    ),
    "--config=configs/celeba.py": (
        "--config.encoder_filters=(4,)",
        "--config.decoder_filters=(4,)",
        "--config.base_size=14",
        "--config.latent_dim=4",
    ),
    "trainer.generate": ("--num=4", "--num_components=2"),
    "benchmarks.resume": (
        "--num_steps=2",
        "--num_resumes=1",
        "--read_steps=0",
        "--results=history.csv",
    ),
    # The benchmark kills its runs, so none of them may end earlier.
    "--config.checkpoint_every_secs=1": ("--config.num_train_steps=100000",),
    "benchmarks.latent_sizes": ("--sizes=2", "--results=history.csv"),
    "benchmarks.reproduce": (
        "--system=pytorch",
        "--num_steps=4",
        "--results=history.csv",
    ),
    "tests/trainer/screenshots.py": ("--output=.",),
    # These tests take minutes, or need software that is not installed here.
    "tests/chaos": ("--collect-only",),
    "tests/pipeline/test_fuzz.py": ("--collect-only",),
    "tests/pipeline/jobs/test_runners.py": ("--collect-only",),
}
# Words of the documents, their replacements, and the reasons.
REPLACED = (
    ("--num_gpus=8", "--virtual_devices=2", "there are none"),
    ("--num_images=1000", "--num_images=60", "size"),
    ("--sweep=latent_dim=2,8,32", "--sweep=latent_dim=2,8", "size"),
    ("--sweep=learning_rate=1e-3,3e-4 ", "--sweep=learning_rate=1e-3 ", "size"),
    ("num_train_steps=20000", "num_train_steps=4", "size"),
    ("num_train_steps=6000", "num_train_steps=4", "size"),
    ("num_train_steps=500", "num_train_steps=4", "size"),
    ("--config.global_batch_size=16", "--config.global_batch_size=4", "size"),
    ("--profile_steps=100:110", "--profile_steps=2:3", "the run has four"),
    ("--port=6007", "--port=0", "it may be taken"),
    ("http://127.0.0.1:9000", "$AWS_ENDPOINT_URL", "it may be taken"),
)
# Beginnings of commands that do not run here, with the reasons.
NOT_RUN = {
    r"make test(-all)?( (MARKS|ROOM)=[\w/]+)?$": "is the tests that this is one of",
    r"make (slowest|pythons)$": "runs tests that this is one of",
    r"make (lint|package|docs)$": "takes minutes; .ci/run runs it",
    r"make versions$": "installs two environments; .ci/run tries the lowest",
    r"make (bench|sabotage)$": "takes a quarter of an hour",
    r"make mutants": "takes hours",
    r"(docker|kubectl|gcloud|sbatch) ": "needs a daemon, a cluster or an account",
    r"go install ": "downloads and compiles Prism",
    r"VAELINE_FLINK_ADDRESS=": "needs more machines; tests/deploy/test_network.py has",
    r"python .* --runner=(Flink|Prism|Dataflow)Runner ": "needs that runner",
}
FLINK = r"deploy/flink/local.sh "
BROWSER = r"PYTHONPATH=. python tests/trainer/screenshots.py "
MAKE = r"(\w+=\S+ )?make "
PIP = r"pip install "
# Commands that do not run together with the other commands of their page.
ELSEWHERE = (FLINK, BROWSER, MAKE, PIP)

# Folders that a reader of a page has besides this repository, and the thing in each.
GIVEN = {
    "README.md": {"celeba": "celeba"},
    "WORKSPACE.md": {"mnist": "mnist", "photos": "photos", "other": "run"},
    "deploy/README.md": {"faces": "celeba", "data/celeba128": "dataset"},
    "docs/data.md": {
        "celeba": "celeba",
        "mnist": "mnist",
        "photos": "photos",
        "mine": "mine",
        "tensorflow_datasets": "tfds",
    },
    "docs/latents.md": {
        "celeba": "celeba",
        "photos": "photos",
        "data/celeba128": "dataset",
        "runs/faces": "run",
    },
    "docs/reliability.md": {"dataset": "dataset"},
    "docs/results.md": {"mnist": "mnist", "data/celeba128": "dataset", "RUN": "run"},
    "docs/serving.md": {"data/celeba128": "dataset", "runs/faces": "run"},
    "docs/tensorboard.md": {
        "data/celeba128": "dataset",
        "runs/celeba": "run",
        "runs/sharp": "run",
        "runs/faces": "run",
        "runs/faces_narrow": "run",
    },
    "docs/training.md": {"data/celeba128": "dataset"},
    "docs/your_images.md": {"photos": "photos"},
}
# Expected output and files, keyed by a word of the command; {NAME} is a flag's value.
PROMISED = {
    "pipeline.synthesize": ("", "{output}/factors.csv"),
    "pipeline.prepare": ("dataset digest: ", "{output}/manifest.json"),
    "pipeline.encode": ("dataset digest: ", "{output}/manifest.json"),
    "pipeline.verify": ("OK: ", ""),
    "trainer.doctor": ("ok   model", ""),
    "trainer.train": ("done at step 4;", "{workdir}/checkpoints/step-000000004"),
    "trainer.launch": ("done at step ", "{workdir}/checkpoints/step-00000000[68]"),
    "trainer.sweep": ("", "{workdir}/results.md"),
    "trainer.evaluate": ("elbo ", "{workdir}/evaluation/*.json"),
    "trainer.generate": ("", "{workdir}/generated/{mode}*"),
    "trainer.export": ("is exported to ", "{output}/saved_model.pb"),
    "trainer.report": ("written to ", ""),
    "trainer.tensorboard": (">TensorBoard</title>", ""),
    "--pca": ("pca/mse_levels", ""),
    "--profile_steps=2:3": ("", "{workdir}/train/plugins/profile/*"),
    "--output=celeba.html": ("", "{output}"),
    "benchmarks.binarize": ("", "{output}/binarized_mnist_test.amat"),
    "benchmarks.resume": ("", "history.csv"),
    "benchmarks.latent_sizes": ("", "history.csv"),
    "benchmarks.reproduce": ("| 105.59 | ", "history.csv"),
    "demo": ("done at step 500;", "demo/run/images/*/*500.png"),
    "chaos": ("test_no_space_for_events", ""),
    "tests/trainer/data/test_shuffling.py": (" passed", ""),
    "tests/trainer/screenshots.py": ("", "tensorboard_projector.png"),
    "up": ("up after ", ""),
    "status": ("job-manager up ", ""),
    "run": ("dataset digest: ", "{output}/manifest.json"),
    "encode": ("dataset digest: ", "{output}/manifest.json"),
    "job-server": ("", "job-server.jar"),
}

# Parses our own flags with absl; pipeline.prepare has Beam's flags as well.
_PARSE = """
import importlib, sys
from absl import flags
name = sys.argv[1]
parse = flags.FLAGS
if name == "pipeline.prepare":
    from pipeline.jobs.execution import split_flags as parse
importlib.import_module(name)
parse(sys.argv[1:])
"""


def is_run(line: str, apart: Sequence[str] = ()) -> bool:
    return not any(re.match(pattern, line) for pattern in (*NOT_RUN, *apart))


def is_repeated(line: str, page: str) -> bool:
    """Returns whether an earlier page has this benchmark, which no command needs."""
    earlier = PAGES[: PAGES.index(page)]
    return "-m benchmarks." in line and any(line in commands(each) for each in earlier)


ALL = list(dict.fromkeys(line for page in PAGES for line in commands(page)))
# Commands that run in one folder, and the things in it. A page has one folder for its
# commands; a `make` command has a folder of its own, for all pages.
PLACES = {
    page: (lines, GIVEN.get(page, {}))
    for page in PAGES
    if (
        lines := [
            line
            for line in commands(page)
            if is_run(line, apart=ELSEWHERE) and not is_repeated(line, page)
        ]
    )
} | {
    line: ([line], {"demo/faces": "celeba"})
    for line in ALL
    if re.match(MAKE, line) and is_run(line)
}


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    with preloaded.python(ADDED) as program:
        yield program


@pytest.fixture(scope="module")
def environ(python: str, s3_endpoint: str, gs_endpoint: str) -> dict[str, str]:
    """Returns the environment variables of all commands."""
    return {
        **os.environ,
        "PATH": f"{pathlib.Path(python).parent}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "ours",
        "AWS_SECRET_ACCESS_KEY": "ours",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STORAGE_EMULATOR_HOST": gs_endpoint,
        "NO_GCE_CHECK": "true",
    }


@pytest.fixture(scope="module")
def things(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """Returns the directory of the things that `GIVEN` names."""
    return reader.make_things(tmp_path_factory.mktemp("things"), environ)


def run_as_shown(line: str, folder: pathlib.Path, environ: Mapping[str, str]) -> None:
    """Runs a command, with words `REPLACED`, and checks its output and files."""
    for shown, ours, _ in REPLACED:
        line = line.replace(shown, ours)
    output = reader.run(line, folder, environ)
    words = shlex.split(line)
    flags = dict(re.findall(r"^--(\w+)=(.*)", "\n".join(words), re.MULTILINE))
    for word in words:
        message, left = PROMISED.get(word, ("", ""))
        assert message in output, f"{line}\n{output[-3000:]}"
        pattern = left.format(**flags)
        if pattern and "://" not in pattern:
            assert list(folder.glob(pattern)), f"{line} left no {pattern}"


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    things: pathlib.Path,
    environ: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, concurrent.futures.Future[None]]]:
    """Yields the future outcome of each selected place; two places run at a time."""

    def run_all(lines: Sequence[str], given: Mapping[str, str]) -> None:
        folder = reader.make_folder(
            tmp_path_factory.mktemp("page"), given, things, environ
        )
        for line in lines:
            run_as_shown(line, folder, environ)

    chosen = [
        item.callspec.params["place"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_commands_run
    ]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {place: pool.submit(run_all, *PLACES[place]) for place in chosen}


@pytest.mark.parametrize("place", PLACES)
def test_commands_run(
    place: str, outcomes: dict[str, concurrent.futures.Future[None]]
) -> None:
    outcomes[place].result()


@pytest.mark.flink
@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_commands_of_a_flink_cluster_run(
    things: pathlib.Path, environ: dict[str, str], tmp_path: pathlib.Path
) -> None:
    *lines, down, job_server = [
        line for line in commands("deploy/README.md") if re.match(FLINK, line)
    ]
    lines += [line for line in commands("docs/latents.md") if re.match(FLINK, line)]
    given = {**GIVEN["deploy/README.md"], "runs/faces": "run"}
    folder = reader.make_folder(tmp_path, given, things, environ)
    reader.run(
        "python -m trainer.export --workdir=runs/faces --output=models/faces/1",
        folder,
        environ,
    )
    environ = environ | {"VAELINE_FLINK_STATE": str(folder / "state")}
    try:
        for line in (*lines, job_server):
            run_as_shown(line, folder, environ)
    finally:
        run_as_shown(down, folder, environ)


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_pictures_of_a_page_are_taken(
    things: pathlib.Path, environ: dict[str, str], tmp_path: pathlib.Path
) -> None:
    page = "docs/tensorboard.md"
    (line,) = (line for line in commands(page) if re.match(BROWSER, line))
    folder = reader.make_folder(tmp_path, GIVEN[page], things, environ)
    run_as_shown(line, folder, environ)


# Until `vaeline` is published, its name means this checkout. Equal lines run once.
REQUIREMENTS = sorted(
    {
        line.removeprefix("pip install ").replace("vaeline[", ".[")
        for line in ALL
        if re.match(PIP, line)
    }
)


@pytest.mark.parametrize("arguments", REQUIREMENTS)
def test_what_pip_would_install_is_there(
    arguments: str, tmp_path: pathlib.Path
) -> None:
    """Resolves without installing: the named packages exist and fit together.

    uv resolves in seconds; pip takes a minute and a half.
    """
    if "gpu" in arguments:
        arguments += " --no-deps"  # CUDA's packages are gigabytes.
    reader.link_repository(tmp_path, os.environ)
    bin_dir = pathlib.Path(sys.executable).parent
    output = reader.run(
        f"{bin_dir}/uv pip install --dry-run --no-build-isolation "
        f"--python {sys.executable} {arguments}",
        tmp_path,
        {"UV_SYSTEM_CERTS": "true", **os.environ},
    )
    assert "Would install " in output or "Would make no changes" in output
    # uv only warns about an extra that does not exist.
    assert "does not have an extra" not in output


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_has_flags_and_paths_that_exist(
    pattern: str, environ: dict[str, str]
) -> None:
    lines = [line for line in ALL if re.match(pattern, line)]
    assert lines, "no page shows it any more"
    for line in lines:
        words = shlex.split(line)
        for path in re.findall(r"(?<![\w/])(?:deploy|configs|tests)/[\w./-]+", line):
            assert (ROOT / path).exists(), line
        for room in re.findall(r"ROOM=(\S+)", line):
            assert (ROOT / "tests" / room).is_dir(), line
        for mark in re.findall(r"MARKS=(\w+)", line):
            assert f'"{mark}: ' in read("pyproject.toml"), line
        if words[0] == "make":
            reader.run(f"make --dry-run {shlex.join(words[1:])}", ROOT, environ)
        elif words[:2] == ["python", "-m"]:
            _, _, module, *arguments = words
            program = ["python", "-c", _PARSE, module, *arguments]
            reader.run(shlex.join(program), ROOT, environ)
