"""Sweeps: the flags that they refuse, the runs that they train, and how they end."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from tests import preloaded
from tests.pipeline.commands import children
from tests.trainer.trained_runs import ROOT, SMALL_MODEL, run_module, wait_for_step
from trainer.operations import sweep_plan, sweep_results
from trainer.runs import metrics_file

pytestmark = pytest.mark.slow

CONFIG = f"--config={ROOT}/configs/celeba_debug.py"
FLAGS = (
    CONFIG,
    *SMALL_MODEL,
    "--virtual_devices=1",
    "--config.num_train_steps=6",
    "--config.log_every_steps=1",
    "--config.image_every_steps=6",
    "--config.eval_every_steps=3",
)


def sweep(
    dataset: pathlib.Path, directory: pathlib.Path, *flags: str
) -> subprocess.CompletedProcess[str]:
    return run_module(
        "trainer.sweep", f"--dataset={dataset}", f"--workdir={directory}", *flags
    )


def start(
    dataset: pathlib.Path, directory: pathlib.Path, *flags: str
) -> subprocess.Popen[str]:
    program = [preloaded.shared_python(), "-m", "trainer.sweep"]
    return subprocess.Popen(
        [*program, f"--dataset={dataset}", f"--workdir={directory}", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows(directory: pathlib.Path) -> dict[str, dict[str, str]]:
    with open(directory / "results.csv", newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def metrics(run: pathlib.Path) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_combination_is_a_run() -> None:
    plan = sweep_plan.make_plan(
        [
            "latent_dim=2,8",
            "encoder_filters=(8,16),(32,)",
            "layer_defaults.activation=elu",
        ],
        [CONFIG, "--config.seed=3", "--num_gpus=0"],
        pathlib.Path("runs"),
    )
    assert [run.name for run in plan] == [
        f"latent_dim={dim},encoder_filters={filters},layer_defaults.activation=elu"
        for dim in (2, 8)
        for filters in ("(8,16)", "(32)")
    ]
    last = plan[-1]
    assert last.config.latent_dim == 8
    assert tuple(last.config.encoder_filters) == (32,)
    assert last.config.layer_defaults.activation == "elu"
    assert last.config.seed == 3
    assert last.train_flags == (
        CONFIG,
        "--config.seed=3",
        "--num_gpus=0",
        "--config.latent_dim=8",
        "--config.encoder_filters=(32,)",
        "--config.layer_defaults.activation=elu",
        f"--workdir={last.workdir}",
    )


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        (["latnt_dim=2"], "^sweep=latnt_dim=2: .*did you mean --config.latent_dim"),
        (["latent_dim=2,x"], "^sweep=latent_dim=x: .*_dim=x must be an in"),
        (["seed=1,1.5"], "^sweep=seed=1.5: .*=1.5 must be an int"),
        (["latent_dim=2,,8"], "without empty values and with balanced parentheses"),
        (["latent_dim="], "must be NAME=VALUE"),
        (["latent_dim"], "must be NAME=VALUE"),
        (["encoder_filters=(8,16"], r"and with balanced parentheses"),
        (["seed=1", "seed=2"], "^sweep=seed is given twice"),
        (["learning_rate=1e-3,0.001"], "twice: give every value once"),
        ([f"eval_line={'x' * 300}"], "exceeds 255 bytes"),
    ],
)
def test_a_wrong_sweep_is_one_line(sweeps: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        sweep_plan.make_plan(sweeps, [CONFIG], pathlib.Path("runs"))
    assert "\n" not in str(error.value)


def test_what_is_wrong_is_said_before_anything_starts(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for flags, message in (
        (["--sweep=latent_dim=2,0"], "latent_dim=0: --config.latent_dim=0 must be at"),
        (["--sweep=latent_dim=2,x"], "--sweep=latent_dim=x"),
        (["--sweep=seed=1", "--config.sed=2"], "did you mean --config.seed"),
        (["--sweep=seed=1", "--num_gpus=9"], "--num_gpus=9 must be from 0 to"),
        (["--sweep=seed=1", "--config.num_train_steps=-1"], "never ends"),
        (["--sweep=seed=1", "--parallel=0"], "--parallel=0"),
        (["--sweep=seed=1", "--nonsense"], "nonsense"),
    ):
        flags = [flag for flag in FLAGS if flag != "--virtual_devices=1"] + flags
        done = sweep(dataset_dir, tmp_path / "runs", *flags)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert message in line
        assert not (tmp_path / "runs").exists()


def test_runs_train_side_by_side_and_one_that_fails_is_named(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = (*FLAGS, "--parallel=2", "--sweep=learning_rate=1e30,1e-3,1e-4")
    done = sweep(dataset_dir, tmp_path, *flags)
    assert done.returncode == 1, done.stderr
    names = [f"learning_rate={rate}" for rate in ("1e+30", "0.001", "0.0001")]
    log = tmp_path / names[0] / "train.log"
    assert f"{names[0]}: failed with exit code 4 (error: step" in done.stderr
    assert f"{names[0]} failed with exit code 4; log: {log}" in done.stderr
    assert "is not finite" in log.read_text()
    # The second run starts before the first run ends.
    events = [line for line in done.stderr.splitlines() if "] learning_rate=" in line]
    assert "[1/3] learning_rate=1e+30: started" in events[0]
    assert "[2/3] learning_rate=0.001: started" in events[1]
    actual = rows(tmp_path)
    assert list(actual) == names
    assert [row["status"] for row in actual.values()] == [
        "failed with exit code 4",
        "done",
        "done",
    ]
    for name in names[1:]:
        lines = metrics(tmp_path / name)
        trained = [line for line in lines if line["split"] == "train"]
        evaluated = [line for line in lines if line["split"] == "validation"]
        row = actual[name]
        assert row["learning_rate"] == name.partition("=")[2]
        assert row["step"] == "6"
        assert float(row["loss"]) == trained[-1]["loss"]
        assert [line["step"] for line in evaluated] == [0, 3, 6]
        for metric, value in evaluated[-1].items():
            if metric not in ("step", "split"):
                assert float(row[f"eval/{metric}"]) == value
        best = max(evaluated, key=lambda line: line["elbo"])
        assert float(row["best_elbo"]) == best["elbo"]
        assert int(row["best_elbo_step"]) == best["step"]
    assert (tmp_path / "results.md").read_text() == done.stdout
    # A second sweep with another value leaves the finished run as it is.
    path = tmp_path / names[1] / "checkpoints/step-000000006/state.safetensors"
    before = path.stat().st_mtime_ns
    again = sweep(dataset_dir, tmp_path, *FLAGS, "--sweep=learning_rate=1e-3,2e-3")
    assert again.returncode == 0, again.stderr
    assert "[1/2] learning_rate=0.001: already done at step 6" in again.stderr
    assert path.stat().st_mtime_ns == before
    assert [row["status"] for row in rows(tmp_path).values()] == ["done", "done"]
    # A run with a damaged last checkpoint is not finished.
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    damaged = sweep(dataset_dir, tmp_path, *FLAGS, "--sweep=learning_rate=1e-3")
    assert damaged.returncode == 1, damaged.stderr
    assert "learning_rate=0.001: started" in damaged.stderr
    assert "failed with exit code 1 (error: every checkpoint in" in damaged.stderr
    path.write_bytes(whole)
    # A changed common setting would make another run, so the sweep refuses it.
    flags = (*FLAGS, "--sweep=learning_rate=1e-3", "--config.beta=2.0")
    refused = sweep(dataset_dir, tmp_path, *flags)
    assert refused.returncode == 1
    assert "--config.beta was 1.0 and is now 2.0" in refused.stderr


def test_a_run_that_cannot_start_does_not_end_the_others(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "seed=1/train.log").mkdir(parents=True)
    (tmp_path / "results.csv").mkdir()
    done = sweep(dataset_dir, tmp_path, *FLAGS, "--sweep=seed=1,2")
    assert done.returncode == 1
    assert "seed=1: failed to start (cannot use " in done.stderr
    assert "seed=2: done in" in done.stderr
    # The table is printed even where its file cannot be written.
    assert "| seed=1 | 1    | failed to start |" in done.stdout
    assert done.stderr.splitlines()[-1] == (
        f"error: cannot use {tmp_path / 'results.csv'}: Is a directory"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_checkpoints_all_runs_and_the_same_command_goes_on(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    flags = (*FLAGS, "--config.num_train_steps=100", "--config.eval_every_steps=100")
    flags += ("--config.image_every_steps=100", "--sweep=latent_dim=2,3")
    directory = tmp_path / "sweep"
    process = start(dataset_dir, directory, *flags, "--parallel=2")
    runs = [directory / f"latent_dim={dim}" for dim in (2, 3)]
    for run in runs:
        wait_for_step(run, 3)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output
    assert f"stopped by {number.name}: run the same command to go on" in output
    steps = {run: metrics(run)[-1]["step"] for run in runs}
    for run, step in steps.items():
        if step < 100:
            assert (run / f"checkpoints/step-{step:09d}").is_dir()
            assert f"stopped at step {step} by {number.name}" in (
                (run / "train.log").read_text()
            )
    assert min(steps.values()) < 100, "nothing was stopped"
    resumed = sweep(dataset_dir, directory, *flags, "--parallel=2")
    assert resumed.returncode == 0, resumed.stderr
    assert [row["status"] for row in rows(directory).values()] == ["done", "done"]
    run = min(steps, key=lambda run: steps[run])
    assert f"resuming at step {steps[run]}" in (run / "train.log").read_text()


def test_a_killed_sweep_leaves_no_process_and_goes_on(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = (*FLAGS, "--config.num_train_steps=40", "--sweep=seed=0,1")
    flags += ("--config.eval_every_steps=40", "--config.image_every_steps=40")
    flags += ("--config.checkpoint_every_secs=0",)
    process = start(dataset_dir, tmp_path, *flags)
    wait_for_step(tmp_path / "seed=0", 3)
    (child,) = children(process.pid)
    os.kill(preloaded.copy_of(process.pid), signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 10
    while pathlib.Path(f"/proc/{child}").exists():
        assert time.monotonic() < end, "still there"
        time.sleep(0.05)
    assert not os.path.exists(tmp_path / "results.csv")
    resumed = sweep(dataset_dir, tmp_path, *flags)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at step" in (tmp_path / "seed=0/train.log").read_text()
    assert [row["step"] for row in rows(tmp_path).values()] == ["40", "40"]


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert metrics_file.read(path) == ([], 0)
    lines = (
        '{"step": 1, "split": "test", "elbo": NaN}',
        '{"step": 2, "split": "test", "elbo": -1.5}',
        '{"st',
    )
    path.write_text("\n".join(lines))
    actual = sweep_results.summarise(metrics_file.read(path)[0])
    assert actual["step"] == 2
    assert actual["best_elbo"] == -1.5
    assert "loss" not in actual
