import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.reporting import image_grid
from trainer.reporting.run_writer import RunWriter
from trainer.runs import metrics_file


def write_steps(directory: pathlib.Path, last_step: int, steps: range) -> None:
    writer = RunWriter(directory, last_step)
    for step in steps:
        writer.write_scalars(step, "train", {"loss": step / 2}, ledger=f"{step:x}")
        writer.write_scalars(step, "validation", {"loss": step / 4})
        grid = np.full([4, 6, 3], step, np.uint8)
        writer.write_grids(step, {"samples/sampled": grid})
    writer.close()


def read_scalars(directory: pathlib.Path, run: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory / run), {"tensors": 0}).Reload()
    # TensorBoard reads files of the same second and process in the order of their
    # names.
    return sorted(
        (event.step, float(tf.make_ndarray(event.tensor_proto)))
        for event in events.Tensors("objective/loss")
    )


def test_a_resume_cuts_off_what_it_will_write_again(tmp_path: pathlib.Path) -> None:
    write_steps(tmp_path, -1, range(10))
    write_steps(tmp_path, 5, range(6, 8))
    assert read_scalars(tmp_path, "train") == [(n, n / 2) for n in range(8)]
    assert read_scalars(tmp_path, "eval") == [(n, n / 4) for n in range(8)]
    events = EventAccumulator(str(tmp_path / "eval"), {"tensors": 0}).Reload()
    steps = [event.step for event in events.Tensors("pictures/samples")]
    assert sorted(steps) == list(range(8))
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").open()]
    assert [x["step"] for x in lines if x["split"] == "train"] == list(range(8))
    assert lines[6] == {"step": 3, "split": "train", "loss": 1.5, "ledger": "3"}


def test_a_fresh_start_leaves_nothing_of_before(tmp_path: pathlib.Path) -> None:
    write_steps(tmp_path, -1, range(3))
    write_steps(tmp_path, -1, range(1))
    assert read_scalars(tmp_path, "train") == [(0, 0.0)]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_files_cut_short_by_a_kill_are_mended(tmp_path: pathlib.Path) -> None:
    write_steps(tmp_path, -1, range(4))
    for path in [*tmp_path.rglob("*tfevents*"), tmp_path / "metrics.jsonl"]:
        path.write_bytes(path.read_bytes()[:-7])
    write_steps(tmp_path, 2, range(3, 5))
    assert read_scalars(tmp_path, "train") == [(n, n / 2) for n in range(5)]
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").open()]
    assert len(lines) == 10


def test_a_line_that_is_no_json_is_dropped(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n{"step": 2}\n')
    metrics_file.truncate(path, 1)
    assert path.read_bytes() == b'{"step": 1}\n'
    metrics_file.truncate(tmp_path / "absent.jsonl", 1)
    assert not (tmp_path / "absent.jsonl").exists()


@pytest.mark.parametrize("step", [0, 123])
def test_grids_are_files_by_tag_and_step(tmp_path: pathlib.Path, step: int) -> None:
    write_steps(tmp_path, -1, range(step, step + 1))
    assert (tmp_path / f"images/samples/sampled/{step:09d}.png").is_file()


def test_pictures_are_whole_once_waited_for(tmp_path: pathlib.Path) -> None:
    writer = RunWriter(tmp_path, -1)
    for step in (0, 5):
        writer.write_scalars(step, "train", {"loss": 1.0})
        grid = np.full([4, 6, 3], step, np.uint8)
        writer.start_pictures(step, {"drawn": lambda grid=grid: grid}, ("drawn",))
        writer.wait()
        np.testing.assert_array_equal(
            image_grid.load_png(writer.grid_path("drawn", step)), grid
        )
        assert (tmp_path / "images/strip.png").exists()
        assert (tmp_path / "images/curves.png").exists() == (step > 0)
    writer.close()


def test_a_picture_that_cannot_be_written_is_told(tmp_path: pathlib.Path) -> None:
    writer = RunWriter(tmp_path, -1)
    (tmp_path / "images").write_text("no directory")
    writer.start_pictures(0, {"drawn": lambda: np.zeros([4, 6, 3], np.uint8)}, ())
    with pytest.raises(OSError, match="images"):
        writer.wait()
    writer.close()
