"""Full or read-only disks, and two trainers with the same workdir."""

import pathlib
import signal

from tests import preloaded
from tests.chaos import machine, trainers
from tests.chaos.reliability import IS_FULL, scenario
from tests.trainer.trained_runs import Run
from trainer.runs import checkpoints

_DISK_KIB = 4096
_SELDOM = "--config.checkpoint_every_secs=3600"


def check_full_disk(
    dataset: pathlib.Path, disk: pathlib.Path, *flags: str, free_kib: int, seen: str
) -> tuple[str, Run]:
    """Fills the disk of a trainer, starts it again, frees the disk, and resumes.

    Args:
        dataset: Dataset to train on.
        disk: Mounted disk for the workdir.
        *flags: Flags of the first start.
        free_kib: KiB of the disk to leave free.
        seen: Pattern of the files that trigger the filling of the disk.

    Returns:
        The error message of the first start and the resumed run.
    """
    workdir = disk / "run"
    process = trainers.start(dataset, workdir, *flags)
    trainers.wait_until(process, lambda: any(workdir.glob(seen)))
    # On a busy machine the training could end before the disk is full.
    preloaded.send(process, signal.SIGSTOP)
    machine.fill(disk / "ballast", free_kib)
    preloaded.send(process, signal.SIGCONT)
    message = trainers.complaint(trainers.end(process, workdir))
    assert (
        f"the disk of --workdir={workdir} is full (No space left on device; " in message
    )
    assert f"of {_DISK_KIB} KiB are free" in message
    for path in checkpoints.list_newest_first(workdir / "checkpoints"):
        checkpoints.load(path)
    machine.fill(disk / "more", 0)
    again = trainers.complaint(trainers.run(dataset, workdir))
    assert f"the disk of --workdir={workdir} is full" in again
    (disk / "ballast").unlink()
    (disk / "more").unlink()
    return message, trainers.run(dataset, workdir)


@scenario("the disk is full when a checkpoint is written")
def test_no_space_for_a_checkpoint(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    with machine.disk(tmp_path / "disk", _DISK_KIB):
        message, run = check_full_disk(
            tiny_dir,
            tmp_path / "disk",
            free_kib=24,
            seen="checkpoints/step-000000010",
        )
        assert "resuming at step" in run.output
        trainers.assert_same(run, undisturbed)
    row(_HAPPENS, "nothing", message, WORKDIR=run.workdir)


@scenario("the disk is full when events are written", only_full=True)
def test_no_space_for_events(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    with machine.disk(tmp_path / "disk", _DISK_KIB):
        message, run = check_full_disk(
            tiny_dir,
            tmp_path / "disk",
            _SELDOM,
            free_kib=0,
            seen="metrics.jsonl",
        )
        trainers.assert_same(run, undisturbed)
    row(
        _HAPPENS,
        "the steps since the last checkpoint, made again",
        message,
        WORKDIR=run.workdir,
    )


@scenario("the disk is full when pictures are written", only_full=True)
def test_no_space_for_pictures(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    seldom = [f"--config.{name}_every_steps=150" for name in ("log", "eval")]
    with machine.disk(tmp_path / "disk", _DISK_KIB):
        message, run = check_full_disk(
            tiny_dir,
            tmp_path / "disk",
            _SELDOM,
            *seldom,
            "--config.image_every_steps=5",
            free_kib=0,
            seen="images/*/*5.png",
        )
        trainers.assert_same_state(run.workdir, undisturbed, trainers.NUM_STEPS)
    row(
        _HAPPENS,
        "the steps since the last checkpoint, made again",
        message,
        WORKDIR=run.workdir,
    )


@scenario("the workdir is read-only")
def test_read_only(tiny_dir, tmp_path, row) -> None:
    with machine.disk(tmp_path / "disk", _DISK_KIB):
        (tmp_path / "disk/old").mkdir()
        machine.make_read_only(tmp_path / "disk")
        for name in ("old", "new") if IS_FULL else ("new",):
            workdir = tmp_path / "disk" / name
            run = trainers.run(tiny_dir, workdir)
            message = trainers.complaint(run)
            assert f"--workdir={workdir} cannot be written (Read-only file" in message
            assert "step " not in run.output
    row("exit code 1, before the first step", "nothing", message, WORKDIR=workdir)


@scenario("a second trainer with the same workdir")
def test_two_trainers(undisturbed: Run, tiny_dir, tmp_path, row) -> None:
    workdir = tmp_path / "run"
    first = trainers.start(tiny_dir, workdir)
    trainers.wait_for_checkpoint(first, workdir, 1)
    trainers.pause(first)
    message = trainers.complaint(trainers.run(tiny_dir, workdir))
    assert f"--workdir={workdir} is in use by another trainer.train" in message
    trainers.go_on(first)
    trainers.assert_same(trainers.end(first, workdir), undisturbed)
    row("the second ends with exit code 1; the first goes on", "nothing", message)


_HAPPENS = "exit code 1; what was saved stays whole"
