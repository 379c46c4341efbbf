"""Starts, watches, kills and compares trainers of a tiny model."""

import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from tests import preloaded
from tests.chaos.reliability import IS_FULL, python_to_kill
from tests.trainer.trained_runs import UNREPEATED, Run, start_training
from trainer.reporting import tags

NUM_STEPS = 150 if IS_FULL else 75
# Log and save every step; evaluate and draw pictures at every third of the run.
_FLAGS = (
    f"--config.num_train_steps={NUM_STEPS}",
    f"--config.eval_every_steps={NUM_STEPS // 3}",
    f"--config.image_every_steps={NUM_STEPS // 3}",
    "--config.checkpoint_every_secs=0",
    "--config.encoder_filters=(8,)",
    "--config.decoder_filters=(8,)",
    "--config.global_batch_size=8",
    "--config.latent_dim=4",
    "--virtual_devices=1",
)
# These settings compile faster.
_FLAGS += () if IS_FULL else ("--config.num_batch_groups=2",)
_FLAGS += () if IS_FULL else ("--config.show_neighbours=False",)
# Time limit of a wait. TensorFlow alone would wait longer for a missing host.
_SECONDS = 150
_started: list[subprocess.Popen[str]] = []


def start(
    dataset: pathlib.Path,
    workdir: pathlib.Path,
    *flags: str,
    model: Sequence[str] = _FLAGS,
    **how: Any,
) -> subprocess.Popen[str]:
    """Starts a trainer, with a tiny model unless `model` gives other flags.

    `flags` and `how` are as in `start_training`. The full form starts a new
    interpreter instead of a preloaded copy.
    """
    how = {"python": python_to_kill(), **how}
    _started.append(start_training(dataset, workdir, *model, *flags, **how))
    return _started[-1]


def end_all() -> None:
    """Kills every trainer that is still running."""
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()
        process.stdout.close()


def end(
    process: subprocess.Popen[str], workdir: pathlib.Path, seconds: float = _SECONDS
) -> Run:
    """Waits for a trainer to end, and returns its exit code and output."""
    output, _ = process.communicate(timeout=seconds)
    assert "Traceback" not in output, output
    return Run(workdir, process.returncode, output)


def run(dataset: pathlib.Path, workdir: pathlib.Path, *flags: str, **how: Any) -> Run:
    """Runs a trainer to its end without disturbing it."""
    return end(start(dataset, workdir, *flags, **how), workdir)


def kill(process: subprocess.Popen[str], workdir: pathlib.Path) -> Run:
    """Kills a trainer with SIGKILL, as the system does when memory runs out."""
    preloaded.send(process, signal.SIGKILL)
    return end(process, workdir)


def complaint(run: Run, code: int = 1) -> str:
    """Returns the error line of a trainer that failed with `code`."""
    assert run.returncode == code, run.output
    (line,) = [at for at in run.output.splitlines() if at.startswith("error: ")]
    assert run.output.endswith(f"{line}\n"), run.output
    return line


def last_step(workdir: pathlib.Path) -> int:
    """Returns the step of the newest checkpoint; -1 if there is none."""
    steps = [int(path.name[5:]) for path in workdir.glob("checkpoints/step-*")]
    return max(steps, default=-1)


def wait_until(
    process: subprocess.Popen[str], is_so: Callable[[], bool], pause: float = 0.005
) -> None:
    """Waits until `is_so()` is true or the trainer has ended."""
    limit = time.monotonic() + _SECONDS
    while not is_so() and process.poll() is None:
        assert time.monotonic() < limit, "timed out"
        time.sleep(pause)


def wait_for_checkpoint(
    process: subprocess.Popen[str], workdir: pathlib.Path, step: int
) -> None:
    """Waits for a checkpoint of `step` or of a later step."""
    wait_until(process, lambda: last_step(workdir) >= step)
    assert process.poll() is None, process.communicate()[0]


def children(launcher: subprocess.Popen[str]) -> list[int]:
    """Returns the process ids that a launcher started, the chief first."""
    pid = preloaded.copy_of(launcher.pid)
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return sorted(map(int, path.read_text().split()))


def pause(process: subprocess.Popen[str]) -> None:
    """Pauses a trainer until `go_on`."""
    preloaded.send(process, signal.SIGSTOP)


def go_on(process: subprocess.Popen[str]) -> None:
    """Resumes a trainer after `pause`."""
    preloaded.send(process, signal.SIGCONT)


def points(workdir: pathlib.Path, run: str) -> dict[str, list[tuple[int, bytes]]]:
    """Returns steps and values by tag, in the order that TensorBoard reads them."""
    events = EventAccumulator(str(workdir / run), {"tensors": 0}).Reload()
    unrepeated = {tags.of_scalar(name).name for name in UNREPEATED}
    return {
        tag: [
            (event.step, event.tensor_proto.SerializeToString())
            for event in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
        if tag not in (*unrepeated, "config", metadata.SESSION_START_INFO_TAG)
    }


def wall_times(workdir: pathlib.Path, run: str) -> list[float]:
    """Returns the time at which each loss was written, in the order of `points`."""
    events = EventAccumulator(str(workdir / run), {"tensors": 0}).Reload()
    return [event.wall_time for event in events.Tensors("objective/loss")]


def assert_same(run: Run, reference: Run, last: int = NUM_STEPS) -> None:
    """Checks that a run left the same results as an undisturbed run.

    The results are the losses, gradient norms and ledgers of all steps, the
    evaluations, the events (each once and in order), the names of the pictures, and
    every byte of the last checkpoint.
    """
    assert run.returncode == 0, run.output
    for split in ("train", "validation"):
        assert run.metrics(split) == reference.metrics(split)
    assert sorted(run.metrics()) == list(range(1, NUM_STEPS + 1))
    for part in ("train", "eval"):
        assert points(run.workdir, part) == points(reference.workdir, part)
    assert_same_state(run.workdir, reference, last)
    pictures = [
        sorted(path.relative_to(at) for path in at.glob("images/**/*"))
        for at in (run.workdir, reference.workdir)
    ]
    assert pictures[0] == pictures[1]


def assert_same_state(workdir: pathlib.Path, reference: Run, step: int) -> None:
    """Checks the bytes of a checkpoint, and that no half-written checkpoint is left."""
    folder = f"checkpoints/step-{step:09d}"
    for name in ("state.safetensors", "checkpoint.json"):
        expected = (reference.workdir / folder / name).read_bytes()
        assert (workdir / folder / name).read_bytes() == expected
    assert not list(workdir.glob("checkpoints/.tmp-*"))
