"""A command's settings for its process: the limit of open files, and warnings."""

import errno
import os
import pathlib
import resource
import subprocess
import sys

import pytest

from pipeline.process import limits

ROOT = pathlib.Path(__file__).parents[3]

# Imports only `pipeline`, which sets the limit of open files before other imports.
PROGRAM = """
import resource, sys
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
sys.argv = ["-m"]
import pipeline
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


# `python -m` has this `sys.argv` while it looks for a command.
COMMAND = "import sys; sys.argv = ['-m']; "


def run(program: str, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(256, 8192, 4096), (64, 256, 256), (5000, 8192, 5000)]
)
def test_open_files_are_raised_as_far_as_needed(
    soft: int, hard: int, raised: int
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and hard > most:
        pytest.skip(f"this system allows {most} open files")
    assert run(PROGRAM, str(soft), str(hard)) == f"{raised} {hard}"


@pytest.mark.parametrize(("limit", "num"), [(4096, 4000), (128, 32), (64, 1)])
def test_shards_leave_room_for_other_files(
    limit: int, num: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "open_files_limit", lambda: limit)
    assert limits.num_shards_open() == num


def test_too_many_open_files_have_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "open_files_limit", lambda: 256)
    ours, all_of_them = OSError(errno.EMFILE, ""), OSError(errno.ENFILE, "")
    assert limits.is_out_of_files(ours)
    assert "more than 256 open files" in limits.out_of_files_text(ours)
    assert "ulimit -n 4096" in limits.out_of_files_text(ours)
    monkeypatch.setattr(limits, "open_files_limit", lambda: 20_000)
    assert limits.out_of_files_text(ours) == (
        "this process needs more than 20000 open files, its limit: raise the limit "
        "with ulimit -n 40000"
    )
    assert limits.is_out_of_files(all_of_them)
    assert "end other programs" in limits.out_of_files_text(all_of_them)
    assert not limits.is_out_of_files(FileNotFoundError(errno.ENOENT, ""))


@pytest.mark.parametrize("category", ["ImportWarning", "UserWarning"])
def test_warnings_of_libraries_end_no_command(category: str) -> None:
    program = f"import pipeline, warnings; warnings.warn('w', {category}); print('on')"
    assert run(COMMAND + program, PYTHONWARNINGS="error") == "on"


@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_an_import_by_another_program_changes_nothing(package: str) -> None:
    state = (
        "(warnings.filters[:], dict(os.environ), resource.getrlimit(files), "
        "signal.getsignal(2), signal.getsignal(15), logging.root.filters[:], "
        "gc.isenabled())"
    )
    program = (
        "import gc, logging, os, resource, signal, sys, warnings\n"
        "files = resource.RLIMIT_NOFILE\n"
        "resource.setrlimit(files, (256, resource.getrlimit(files)[1]))\n"
        f"before = {state}\nimport {package}\nassert before == {state}\nprint('same')"
    )
    changed = {"NUMBA_OPT": "x", "TQDM_NCOLS": "x"}
    assert run(program, PYTHONWARNINGS="error", **changed) == "same"


def test_workers_of_any_runner_are_prepared() -> None:
    program = """
import resource
from pipeline.jobs import graph
from pipeline.latents import latent_shards
files = resource.RLIMIT_NOFILE
_, hard = resource.getrlimit(files)
for step in (graph.MakeShard, graph.Publish, latent_shards.EncodeShard):
    resource.setrlimit(files, (256, hard))
    made = step.__new__(step)
    made._beam_args = ()
    made.setup()
    print(resource.getrlimit(files)[0] == min(4096, hard))
"""
    assert run(program).split() == ["True"] * 3


# Resizes with compiled loops that are not in the package's cache.
RESIZE = """
import sys
sys.argv = ["-m"]
import pipeline, warnings
warnings.simplefilter("error")
import numpy as np, numba
from pipeline.images import resizing
image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
print(resizing.resize_and_map(image, 2, "area", np.arange(256.0)).sum())
print(numba.config.DISABLE_JIT, numba.config.NUMBA_NUM_THREADS)
"""


@pytest.mark.parametrize("cache", ["whole", "none", "not writable", "full", "damaged"])
def test_loops_over_pixels_are_compiled_whatever_variables_say(
    cache: str, tmp_path: pathlib.Path
) -> None:
    directory = tmp_path / "cache"
    environ = {
        "NUMBA_DISABLE_JIT": "1",
        "NUMBA_CPU_FEATURES": "x",
        "NUMBA_CPU_NAME": "x",
        "NUMBA_OPT": "x",
        "NUMBA_DEBUG": "x",
        "NUMBA_CACHE_LOCATOR_CLASSES": "x",
        "NUMBA_NUM_THREADS": "x" if cache == "none" else "1",
        "NUMBA_CACHE_DIR": str(directory),
    }
    program = RESIZE
    if cache == "none":
        environ["NUMBA_CACHE_DIR"] = "/proc/none"
    elif cache == "not writable":
        directory.write_text("a file")
    elif cache == "full":
        limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))"
        program = f"import resource; {limit}{RESIZE}"
    elif cache == "damaged":
        run(program, **environ)
        paths = [path for path in directory.rglob("*.nbi") if path.is_file()]
        assert len(paths) == 2
        for path in paths:
            path.write_bytes(path.read_bytes()[:40])
    said = run(program, **environ).split()
    assert said[:2] == ["1152.0", "0"]
    assert int(said[2]) >= 1


def test_variables_that_are_no_numbers_end_no_command() -> None:
    program = COMMAND + (
        "import pipeline, os, sklearn, tqdm, google.protobuf.internal.decoder\n"
        "print(*sorted(name for name in os.environ if name.startswith('TQDM')))"
    )
    wrong = {name: "x" for name in limits._NUMBERS}
    wrong["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "x"
    assert run(program, **wrong, TQDM_COLOUR="red") == "TQDM_COLOUR"
    right = {name: "7" for name in limits._NUMBERS if name.startswith("TQDM")}
    assert run(program, **right) == " ".join(sorted(right))


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        (
            "trainer.train",
            ["--config=configs/celeba.py", "--dataset=d", "--workdir=w"],
        ),
        ("pipeline.prepare", ["--input=i", "--output=o"]),
    ],
)
def test_too_few_addresses_are_one_line(module: str, flags: list[str]) -> None:
    least = limits._LEAST_ADDRESSES
    program = (
        "import resource, runpy\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({least} - 1,) * 2)\n"
        f"runpy.run_module({module!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: this process may use 2441406 KiB of address space")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "Full", "/a"), "/a: Full: free some space and make the"),
        (OSError(errno.EDQUOT, "Quota"), "Quota: free some space and make the same c"),
        (OSError(errno.EROFS, "Read-only", "/a"), "/a: Read-only: write elsewhere, or"),
        (OSError(errno.EFBIG, "Too large"), "Too large: set ulimit -f unlimited, or"),
        (OSError(errno.EMFILE, "Many"), "this process needs more than"),
        (OSError(errno.ENOENT, "None", "/a"), "cannot use /a: None"),
        (OSError(errno.EISDIR, "Dir", "/a.tmp", None, "/a"), "cannot use /a: Dir"),
        (ValueError("--a=1 is wrong"), "--a=1 is wrong"),
    ],
)
def test_errors_of_the_system_have_a_remedy(error: Exception, text: str) -> None:
    assert limits.error_text(error).startswith(text)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("can't start new thread"), "cannot start a thread: raise"),
        (RuntimeError("else"), None),
    ],
)
def test_want_of_memory_has_a_remedy(error: Exception, said: str | None) -> None:
    text = limits.shortage_text(error)
    assert text is None if said is None else said in str(text)
