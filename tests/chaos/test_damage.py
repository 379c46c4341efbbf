"""Cuts, changes or removes files while a trainer runs or before it resumes."""

import os
import pathlib
import re
import shutil
from collections.abc import Callable

import pytest

from pipeline.formats import records
from tests.chaos import tiny_dataset, trainers
from tests.chaos.reliability import IS_FULL, scenario
from tests.trainer.trained_runs import Run

# Step at which the run is killed before the test damages it.
_STEP = 40 if IS_FULL else 20
_HAPPENS = "exit code 1; the last checkpoint stays"


@pytest.fixture(scope="module")
def stopped(tiny_dir, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns the workdir of a run that was killed midway and has 3 checkpoints."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    process = trainers.start(tiny_dir, workdir)
    trainers.wait_for_checkpoint(process, workdir, _STEP)
    trainers.kill(process, workdir)
    return workdir


@scenario("a bit of the newest checkpoint flips", only_full=True)
def test_a_damaged_checkpoint(
    undisturbed: Run, tiny_dir, stopped, tmp_path, row
) -> None:
    workdir = shutil.copytree(stopped, tmp_path / "run")
    newest, before, *_ = sorted(workdir.glob("checkpoints/step-*"), reverse=True)
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    run = trainers.run(tiny_dir, workdir)
    step = int(before.name[5:])
    assert f"resuming at step {step}" in run.output
    (message,) = re.findall(
        r"\S+ is damaged: .*trying the checkpoint before it", run.output
    )
    trainers.assert_same(run, undisturbed)
    row("it goes on from the checkpoint before", "nothing", message)


@scenario("events and metrics.jsonl are cut within a record")
def test_cut_logs(undisturbed: Run, tiny_dir, stopped, tmp_path, row) -> None:
    workdir = shutil.copytree(stopped, tmp_path / "run")
    step = trainers.last_step(workdir)
    # A power failure may leave such incomplete last lines.
    for path in [*workdir.glob("*/*tfevents*"), workdir / "metrics.jsonl"]:
        data = path.read_bytes()
        os.truncate(path, len(data) - 7)
    run = trainers.run(tiny_dir, workdir)
    assert f"resuming at step {step}" in run.output
    assert run.returncode == 0
    # The state is complete, and the log loses at most the step whose line was cut.
    metrics, expected = run.metrics(), undisturbed.metrics()
    assert expected.keys() - metrics.keys() <= {step}
    assert all(line == expected[at] for at, line in metrics.items())
    whole = trainers.points(undisturbed.workdir, "train")
    for tag, points in trainers.points(workdir, "train").items():
        assert set(whole[tag]) - set(points) <= {
            at for at in whole[tag] if at[0] == step
        }
        assert points == [at for at in whole[tag] if at in points]
    trainers.assert_same_state(workdir, undisturbed, trainers.NUM_STEPS)
    row("the rest is kept, and it goes on", "the line that was cut, if it was saved")


def go_on_after(
    damage: Callable[[pathlib.Path], None],
    own_dir: pathlib.Path,
    tmp_path: pathlib.Path,
) -> tuple[str, Run]:
    """Damages the shards that a trainer reads, restores them, and resumes the run.

    Returns:
        The trainer's error message and the resumed run.
    """
    workdir = tmp_path / "run"
    process = trainers.start(own_dir, workdir)
    trainers.wait_for_checkpoint(process, workdir, 10)
    whole = {path: path.read_bytes() for path in tiny_dataset.shards(own_dir)}
    for path in whole:
        damage(path)
    message = trainers.complaint(trainers.end(process, workdir))
    assert "a shard is damaged, or changed while it was read (" in message
    step = trainers.last_step(workdir)
    # The flags of these tests save a checkpoint at every step.
    assert step == max(Run(workdir, 0, "").metrics())
    for path, data in whole.items():
        tiny_dataset.replace(path, data)
    run = trainers.run(own_dir, workdir)
    assert f"resuming at step {step}" in run.output
    return message, run


def cut(path: pathlib.Path) -> None:
    tiny_dataset.replace(path, path.read_bytes()[: path.stat().st_size // 3])


def cut_between_records(path: pathlib.Path) -> None:
    data = path.read_bytes()
    tiny_dataset.replace(path, data[: len(data) // 8 * 5])


def fill_with_no_examples(path: pathlib.Path) -> None:
    num_bytes = path.stat().st_size - 8 * records.MIN_FRAME_BYTES
    sizes = [num_bytes // 8] * 7 + [num_bytes - num_bytes // 8 * 7]
    frames = [b"".join(records.frame(bytes(size))) for size in sizes]
    tiny_dataset.replace(path, b"".join(frames))


@scenario("shards are cut under the trainer", only_full=True)
def test_a_cut_shard(undisturbed: Run, own_dir, tmp_path, row) -> None:
    message, run = go_on_after(cut, own_dir, tmp_path)
    assert " bytes, and its manifest says " in message
    trainers.assert_same(run, undisturbed)
    row(_HAPPENS, "nothing, once the shard is restored", message)


@scenario("shards are cut between two records", only_full=True)
def test_a_short_shard(undisturbed: Run, own_dir, tmp_path, row) -> None:
    message, run = go_on_after(cut_between_records, own_dir, tmp_path)
    assert " bytes, and its manifest says " in message
    trainers.assert_same(run, undisturbed)
    row(_HAPPENS, "nothing, once the shard is restored", message)


@scenario("shards are removed under the trainer", only_full=True)
def test_a_removed_shard(undisturbed: Run, own_dir, tmp_path, row) -> None:
    message, run = go_on_after(pathlib.Path.unlink, own_dir, tmp_path)
    assert "No such file" in message
    trainers.assert_same(run, undisturbed)
    row(_HAPPENS, "nothing, once the shard is restored", message)


@scenario("shards are replaced by sound records that hold no example")
def test_no_examples(undisturbed: Run, own_dir, tmp_path, row) -> None:
    message, run = go_on_after(fill_with_no_examples, own_dir, tmp_path)
    assert " is not a tf.train.Example)" in message
    trainers.assert_same(run, undisturbed)
    row(_HAPPENS, "nothing, once the shard is restored", message)


@scenario("an image of the dataset has a NaN", only_full=True)
def test_a_nan(undisturbed: Run, tmp_path, row) -> None:
    dataset = tiny_dataset.write(tmp_path / "dataset", nan_record=5)
    run = trainers.run(dataset, tmp_path / "run")
    message = trainers.complaint(run, code=4)
    match = re.search(
        r"step (\d+) is not finite .* the state of step (\d+) is in", message
    )
    assert match is not None, message
    step = trainers.last_step(run.workdir)
    assert (int(match[1]), int(match[2])) == (step + 1, step)
    name = f"checkpoints/step-{step:09d}/state.safetensors"
    # No batch up to this step has the NaN, so the state is the undisturbed run's.
    expected = (undisturbed.workdir / name).read_bytes()
    assert (run.workdir / name).read_bytes() == expected
    row("exit code 4; the step changes nothing", "nothing", message)
