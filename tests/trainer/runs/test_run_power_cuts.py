"""After a power cut, a workdir holds everything that was reported as saved, whole."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from configs import celeba_debug
from pipeline import contract
from tests import power_cuts
from trainer.reporting import image_grid
from trainer.reporting.run_writer import RunWriter
from trainer.runs import checkpoint_saver, checkpoints, workdir
from trainer.serving import saved_model

MANIFEST = contract.Manifest(
    name="celeba",
    settings={"seed": 0},
    source_fingerprint="ab",
    features={
        "key": contract.Feature("string"),
        "image": contract.Feature("float16", (32, 32, 3)),
    },
    splits={},
)
NUM_CUTS = 50


def steps_of(run_dir: pathlib.Path, steps: range, last_saved: int, note) -> None:
    """Writes the files of a run for `steps`, with checkpoints up to `last_saved`."""
    config = celeba_debug.get_config()
    lock = workdir.acquire(run_dir, config, MANIFEST, "data")
    directory = run_dir / "checkpoints"
    checkpoints.load_newest(directory, is_owner=True)
    writer = RunWriter(run_dir, last_step=steps.start - 1)
    writing = checkpoint_saver.Saver(
        directory,
        checkpoint_saver.Retention(2, num_best=1, every_steps=4),
        before=writer.sync,
    )
    for step in steps:
        writer.write_scalars(step, "train", {"loss": float(step)})
        picture = np.full([4, 6, 3], step, np.uint8)
        writer.start_pictures(step, {"samples": lambda image=picture: image}, [])
        writer.wait()
        if step > last_saved:
            continue
        meta = {"elbo": float(-step)} if step % 3 == 0 else {}
        writing.save(step, {"step": np.int64(step), "w": np.full(99, step)}, meta)
        # At other steps the next step is made while the checkpoint is written.
        if step % 2 or step == last_saved:
            writing.wait()
            note(step)
    writing.close()
    writer.close()
    lock.close()


def check_recovered(run_dir: pathlib.Path, told: int | None) -> None:
    """Resumes a run as a trainer would, and checks that nothing saved is lost."""
    actual = checkpoints.list_newest_first(run_dir / "checkpoints")
    assert all(map(checkpoints.is_whole, actual)), "one is damaged"
    lock = workdir.acquire(run_dir, celeba_debug.get_config(), MANIFEST, "data")
    loaded = checkpoints.load_newest(run_dir / "checkpoints", is_owner=True)
    step = -1 if loaded is None else int(loaded[0]["step"])
    assert step >= (-1 if told is None else told)
    if loaded is not None:
        assert (loaded[0]["w"] == step).all()
    RunWriter(run_dir, last_step=step).close()
    lines = []
    if (run_dir / "metrics.jsonl").exists():
        text = (run_dir / "metrics.jsonl").read_text()
        lines = [json.loads(line)["step"] for line in text.splitlines()]
    assert lines == list(range(step + 1))
    events = EventAccumulator(str(run_dir / "train"), {"tensors": 0}).Reload()
    losses = events.Tensors("objective/loss") if step >= 0 else []
    values = [(at.step, float(tf.make_ndarray(at.tensor_proto))) for at in losses]
    assert values == [(at, float(at)) for at in range(step + 1)]
    for at in range(step + 1):
        path = run_dir / "images/samples" / f"{at:09d}.png"
        assert (image_grid.load_png(path) == at).all()
    lock.close()


@pytest.mark.slow
def test_a_run_loses_nothing_that_was_saved(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    recorder = power_cuts.Recorder(disk)
    with recorder.recording():
        steps_of(disk / "a/run", range(8), 6, recorder.note)
        # The first start logged step 7 without saving it, so the second repeats it.
        steps_of(disk / "a/run", range(7, 12), 11, recorder.note)
    num_recovered = 0
    for moment, root in power_cuts.cuts(recorder.moments, tmp_path, NUM_CUTS):
        check_recovered(root / "a/run", max(moment.notes, default=None))
        num_recovered += 1
    assert num_recovered == len(power_cuts.HOWS) * NUM_CUTS


def test_of_two_exports_one_is_there(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    texts = {"saved_model.pb": "graph", "variables/variables.index": "weights"}
    disk.mkdir()
    recorder = power_cuts.Recorder(disk)
    with recorder.recording():
        for number in (1, 2):
            for name, text in texts.items():
                path = disk / "new" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{text} {number}")
            saved_model._replace(disk / "export", by=disk / "new")
            recorder.note(number)
    for moment, root in power_cuts.cuts(recorder.moments, tmp_path, 20):
        reported = max(moment.notes, default=0)
        # Between the two renames, the old export has another name.
        places = [root / "export", root / ".export.old"]
        there = [place for place in places if place.exists()]
        assert there or not reported
        actual = [{(there[0] / name).read_text() for name in texts} if there else None]
        whole = [{f"{text} {n}" for text in texts.values()} for n in (1, 2)]
        assert actual[0] in [
            *whole[max(0, reported - 1) :],
            *([None] * (not reported)),
        ]
