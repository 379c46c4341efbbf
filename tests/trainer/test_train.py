"""Runs the command from start to end, as a user does."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests import preloaded
from tests.trainer.trained_runs import (
    ROOT,
    SMALL,
    Run,
    start_training,
    stop_at_step,
    train,
    wait_for_step,
)
from trainer.reporting import tags
from trainer.runs import checkpoints

ENDLESS = "--config.num_train_steps=-1"


@pytest.fixture(scope="module")
def small_run(
    dataset_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns an undisturbed run of 50 steps of a model that compiles faster."""
    workdir = tmp_path_factory.mktemp("runs") / "small"
    run = train(dataset_dir, workdir, *SMALL, "--virtual_devices=1")
    assert run.returncode == 0, run.output
    return run


def load_arrays(run: Run) -> dict[str, np.ndarray]:
    (path,) = run.workdir.glob("checkpoints/step-000000050/state.safetensors")
    return load_file(path)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_number_of_devices_changes_no_bit(
    reference_run: Run,
    dataset_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    num_devices: int,
) -> None:
    run = train(dataset_dir, tmp_path / "run", f"--virtual_devices={num_devices}")
    assert run.returncode == 0, run.output
    assert len(run.metrics()) == 50
    # Compare loss, gradient norm and the ledger of consumed records at every step.
    assert run.metrics() == reference_run.metrics()
    assert run.metrics("validation") == reference_run.metrics("validation")
    arrays, expected = load_arrays(run), load_arrays(reference_run)
    statistics = [name for name in expected if "moving_" in name]
    assert len(statistics) == 2 * 2 * 6, "mean and variance, vae and EMA, six norms"
    assert not np.allclose(expected[statistics[0]], 0)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_killed_run_resumes_with_the_same_losses(
    small_run: Run, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = (*SMALL, "--virtual_devices=1", "--config.checkpoint_every_secs=0")
    process = start_training(dataset_dir, tmp_path / "run", *flags)
    killed = stop_at_step(process, tmp_path / "run", 20, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert 20 <= max(killed.metrics()) < 50
    resumed = train(dataset_dir, tmp_path / "run", *flags)
    assert resumed.returncode == 0, resumed.output
    assert "resuming at step" in resumed.output
    assert resumed.metrics() == small_run.metrics()
    assert resumed.metrics("validation") == small_run.metrics("validation")
    arrays, expected = load_arrays(resumed), load_arrays(small_run)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    # The undisturbed run saved its last step because it ended, and not because of the
    # time.
    name = "checkpoints/step-000000050/checkpoint.json"
    (meta, expected_meta) = (
        (run.workdir / name).read_bytes() for run in (resumed, small_run)
    )
    assert b'"elbo"' in meta
    assert meta == expected_meta


@pytest.mark.slow
def test_fewer_cores_and_another_environment_change_no_bit(
    reference_run: Run,
    dataset_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    process = start_training(
        dataset_dir,
        tmp_path / "run",
        "--virtual_devices=1",
        prefix=("taskset", "--cpu-list", "0"),
        # A forked copy would keep the cores of the process that it was forked from.
        python=sys.executable,
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    run = Run(tmp_path / "run", 0, output)
    assert run.metrics() == reference_run.metrics()
    assert run.metrics("validation") == reference_run.metrics("validation")


@pytest.mark.slow
def test_another_number_of_threads_is_named(
    small_run: Run, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(small_run.workdir, workdir)
    flags = (*SMALL, "--num_threads=3", "--config.num_train_steps=51")
    run = train(dataset_dir, workdir, *flags)
    assert run.returncode == 0, run.output
    (warning,) = [line for line in run.output.splitlines() if " W " in line]
    assert "another environment (threads was 2 and is now 3): the losses may" in warning
    wrong = train(dataset_dir, tmp_path / "wrong", "--num_threads=0")
    assert wrong.returncode == 1
    assert "error: --num_threads=0 must be at least 1" in wrong.output


@pytest.mark.slow
def test_a_signal_checkpoints_and_the_rerun_goes_on_elsewhere(
    small_run: Run, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    last = 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        devices = f"--virtual_devices={1 if last else 2}"
        process = start_training(dataset_dir, tmp_path / "run", *SMALL, devices)
        stopped = stop_at_step(process, tmp_path / "run", last + 3, number)
        assert stopped.returncode == 128 + number
        assert (f"resuming at step {last}" in stopped.output) == bool(last)
        last = max(stopped.metrics())
        assert f"stopped at step {last} by {number.name}" in stopped.output
        assert (tmp_path / "run/checkpoints" / f"step-{last:09d}").is_dir()
    resumed = train(dataset_dir, tmp_path / "run", *SMALL, "--virtual_devices=2")
    assert resumed.returncode == 0, resumed.output
    assert f"resuming at step {last}" in resumed.output
    assert resumed.metrics() == small_run.metrics()


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    small_run: Run, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = (*SMALL, "--virtual_devices=1", "--config.checkpoint_every_secs=0")
    first = train(dataset_dir, tmp_path / "run", *flags, "--config.num_train_steps=20")
    assert first.returncode == 0, first.output
    path = tmp_path / "run/checkpoints/step-000000020/state.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    resumed = train(dataset_dir, tmp_path / "run", *flags)
    assert resumed.returncode == 0, resumed.output
    assert (
        "step-000000020 is damaged: state.safetensors has changed since it was written"
        in (resumed.output)
    )
    assert "resuming at step 19" in resumed.output
    assert resumed.metrics() == small_run.metrics()


@pytest.mark.slow
def test_a_damaged_newer_checkpoint_pushes_out_no_whole_one(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = (*SMALL, "--virtual_devices=1", "--config.checkpoint_every_secs=0")
    flags += ("--config.eval_every_steps=100", "--config.image_every_steps=100")
    for last, num_kept in ((10, 2), (12, 1)):
        flags_now = (f"--config.num_train_steps={last}",)
        flags_now += (f"--config.keep_checkpoints={num_kept}",)
        run = train(dataset_dir, tmp_path / "run", *flags, *flags_now)
        assert run.returncode == 0, run.output
        directory = tmp_path / "run/checkpoints"
        for path in directory.glob("step-*10/state.safetensors"):
            zero_the_end(path)
    assert "resuming at step 9" in run.output
    assert "step-000000010 is damaged and was renamed to damaged-step-0" in run.output
    names = sorted(path.name for path in directory.iterdir())
    assert names == ["damaged-step-000000010", "step-000000012"]
    assert checkpoints.is_whole(directory / "step-000000012")


def zero_the_end(path: pathlib.Path) -> None:
    # Write in place, because rewriting the file would leave it empty for a moment.
    with path.open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(bytes(9))


# The message depends on the next read: another record, or a shard from its start.
CUT = "is cut off|bytes, and its manifest says"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2 + 99), CUT),
        (lambda path: path.unlink(), "No such file"),
        (zero_the_end, "has a wrong checksum"),
        # Cut between two records.
        (lambda path: os.truncate(path, path.stat().st_size // 6 * 3), CUT),
    ],
    ids=["cut", "gone", "changed", "cut between records"],
)
def test_a_dataset_that_changes_under_a_run_is_one_line(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path, damage, text: str
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(dataset_dir, dataset)
    process = start_training(dataset, tmp_path / "run", *SMALL, ENDLESS)
    wait_for_step(tmp_path / "run", 2)
    for path in dataset.glob("*-train.tfrecord-*"):
        damage(path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "a shard is damaged, or changed while it was read" in line
    assert re.search(text, line), line
    assert "Traceback" not in output


def test_a_rerun_of_a_finished_run_changes_nothing(
    small_run: Run, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(small_run.workdir, workdir)
    before = {
        path: path.read_bytes()
        for path in workdir.rglob("*")
        if path.is_file() and "tfevents" not in path.name
    }
    run = train(dataset_dir, workdir, *SMALL, "--virtual_devices=1")
    assert run.returncode == 0, run.output
    for path, data in before.items():
        assert path.read_bytes() == data, path


@pytest.mark.slow
def test_a_profile_changes_nothing_and_is_where_tensorboard_looks(
    small_run: Run, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = (*SMALL, "--virtual_devices=1", "--profile_steps=7:9")
    run = train(dataset_dir, tmp_path / "run", *flags)
    assert run.returncode == 0, run.output
    assert run.metrics() == small_run.metrics()
    (trace,) = run.workdir.glob("train/plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size > 10_000
    wrong = train(dataset_dir, tmp_path / "wrong", "--profile_steps=9:7")
    assert wrong.returncode == 1
    assert "error: --profile_steps=9:7 must be FIRST:LAST" in wrong.output


def test_other_settings_are_refused_by_name(
    reference_run: Run, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(reference_run.workdir, workdir)
    run = train(dataset_dir, workdir, "--config.latent_dim=9")
    assert run.returncode == 1
    (line,) = [line for line in run.output.splitlines() if "error: " in line]
    assert "--config.latent_dim was 8 and is now 9" in line
    assert "another --workdir" in line
    assert "Traceback" not in run.output


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_weights(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = (*SMALL, "--virtual_devices=2", "--config.learning_rate=1e30")
    run = train(dataset_dir, tmp_path / "run", *flags)
    assert run.returncode == 4
    assert "step 2 is not finite (" in run.output
    assert "the state of step 1 is in" in run.output
    assert "Traceback" not in run.output
    arrays = load_file(tmp_path / "run/checkpoints/step-000000001/state.safetensors")
    assert arrays["step"] == 1
    for name, array in arrays.items():
        assert np.isfinite(array).all(), name


def test_the_output_is_quiet_and_names_what_was_written(reference_run: Run) -> None:
    lines = reference_run.output.splitlines()
    for line in lines[:-1]:
        assert line[2] == line[5] == ":", f"not one of the trainer's lines: {line}"
    assert "unit-variance beta-VAE with beta = 7.68" in reference_run.output
    assert "step 50  loss 0." in reference_run.output
    assert f"{reference_run.workdir}/images" in reference_run.output
    assert lines[-1].strip() == (
        f"python -m trainer.tensorboard --workdir={reference_run.workdir}"
    )


def test_tensorboard_and_png_files_show_the_same_grids(reference_run: Run) -> None:
    events = EventAccumulator(
        str(reference_run.workdir / "eval"), size_guidance={"tensors": 0}
    ).Reload()
    sizes = {
        "reconstruction": (320, 96),  # 11 pairs, ten images a row.
        "samples/sampled": (160, 160),
        "samples/interpolated": (160, 160),
    }
    for name, size in sizes.items():
        tag = tags.of_picture(name).name
        steps = [event.step for event in events.Tensors(tag)]
        assert steps == [0, 25, 50], name
        files = sorted((reference_run.workdir / "images" / name).glob("*.png"))
        assert [int(path.stem) for path in files] == steps
        assert Image.open(files[-1]).size == size
    scalars = EventAccumulator(str(reference_run.workdir / "train")).Reload()
    assert {
        "objective/loss",
        "objective/elbo",
        "objective/pixel_loss",
        "objective/latent_loss",
        "posterior/mean",
        "posterior/variance",
        "config",
    } <= set(scalars.Tags()["tensors"])


def test_the_workdir_says_what_the_run_is(
    reference_run: Run, dataset_dir: pathlib.Path
) -> None:
    config = json.loads((reference_run.workdir / "config.json").read_text())
    assert config["global_batch_size"] == 16
    manifest = json.loads((dataset_dir / "manifest.json").read_text())
    dataset = json.loads((reference_run.workdir / "dataset.json").read_text())
    assert dataset["digest"] == manifest["digest"]
    checkpoint = reference_run.workdir / "checkpoints/step-000000050/checkpoint.json"
    assert json.loads(checkpoint.read_text())["dataset_digest"] == manifest["digest"]


def test_wrong_flags_are_one_clear_line(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for flags, message in (
        (["--num_gpus=8"], "--num_gpus=8 must be from 0 to 0, the number of GPUs"),
        (["--config.num_batch_groups=5"], "--config.num_batch_groups=5 equal groups"),
        ([f"--dataset={tmp_path}"], "is no dataset, but an empty directory: give a"),
        (["--config.encoder_filters=(8, 16)"], "4 * 2^n, that is 8, 16, 32"),
    ):
        run = train(dataset_dir, tmp_path / "run", *flags)
        assert run.returncode == 1, run.output
        assert message in run.output.splitlines()[-1]
        assert "Traceback" not in run.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            ("objective=elbo", "likelihood_scale=optimal", "free_bits=0.05"),
            marks=pytest.mark.slow,
        ),
        (
            "objective=elbo",
            "likelihood_scale=learned",
            "beta=4.0",
            "kl_warmup_steps=3",
            "input_noise_stddev=0.3",
            "input_drop_fraction=0.2",
            "posterior_scale=softplus",
            "optimizer=rmsprop",
            "loss_reduction=sum",
        ),
        pytest.param(
            (
                "objective=elbo",
                "likelihood=bernoulli",
                "output_activation=linear",
                "binarize=dynamic",
                "num_importance_samples=3",
                "encoder_filters=()",
                "encoder_units=(16,)",
                "decoder_filters=()",
                "decoder_units=(16,)",
                "layer_overrides={}",
            ),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (
                "objective=elbo",
                "likelihood=logistic_mixture",
                "output_activation=linear",
                "downsample=max_pool",
                "reconstruction_draw=sample",
                "precision=mixed_bfloat16",
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["optimal scale", "learned scale", "importance samples", "logistic mixture"],
)
def test_every_objective_is_the_same_on_two_devices(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path, options: tuple[str, ...]
) -> None:
    flags = [*SMALL, *(f"--config.{option}" for option in options)]
    flags += ["--config.num_train_steps=5"]
    runs = [
        train(dataset_dir, tmp_path / str(num), *flags, f"--virtual_devices={num}")
        for num in (1, 2)
    ]
    for run in runs:
        assert run.returncode == 0, run.output
    assert len(runs[0].metrics()) == 5
    assert runs[0].metrics() == runs[1].metrics()
    assert runs[0].metrics("validation") == runs[1].metrics("validation")


@pytest.mark.slow
def test_two_runs_in_one_process_are_alike(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    program = """
import os, pathlib, sys
from configs import celeba_debug
from trainer.distribution import strategies
from trainer.numerics import exact
from trainer.training import loop
exact.configure()
config = celeba_debug.get_config()
config.num_train_steps = config.log_every_steps = 3
config.encoder_filters, config.decoder_filters, config.base_size = (8,), (8,), 16
strategy = strategies.make_strategy(virtual_devices=2)
for name in ("first", "second"):
    loop.train(config, sys.argv[1], pathlib.Path(sys.argv[2], name), strategy)
# See `strategies.iterate`.
os._exit(0)
"""
    done = subprocess.run(
        [preloaded.shared_python(), "-c", program, str(dataset_dir), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = (Run(tmp_path / name, 0, "") for name in ("first", "second"))
    assert list(first.metrics()) == [3]
    assert first.metrics() == second.metrics()
    assert first.metrics("validation") == second.metrics("validation")
