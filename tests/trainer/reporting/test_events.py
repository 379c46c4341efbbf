"""Event files: their order, and the events that TensorBoard reads."""

import io
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.reporting import events
from trainer.reporting.tags import Tag

LOSS = "objective/loss"


def write_losses(directory: pathlib.Path, *steps: int) -> pathlib.Path:
    before = set(directory.glob("*"))
    file = events.EventFile(directory)
    for step in steps:
        file.write_scalars(step, {Tag(LOSS, ""): step / 2})
    file.close()
    (path,) = set(directory.glob("*")) - before
    return path


def read(directory: pathlib.Path) -> EventAccumulator:
    return EventAccumulator(str(directory), {"tensors": 0}).Reload()


def steps_of(directory: pathlib.Path) -> list[int]:
    return [event.step for event in read(directory).Tensors(LOSS)]


@pytest.mark.parametrize("days_later", [-1, 0, 1])
def test_files_are_in_order_whatever_the_clock_says(
    tmp_path, monkeypatch, days_later: int
) -> None:
    first = write_losses(tmp_path, 1, 2)
    now = time.time() + 24 * 60 * 60 * days_later
    monkeypatch.setattr("time.time", lambda: now)
    second = write_losses(tmp_path, 3, 4)
    assert first.name < second.name
    assert steps_of(tmp_path) == [1, 2, 3, 4]


def test_it_is_what_tensorflow_writes(tmp_path) -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    with tf.summary.create_file_writer(str(tmp_path / "theirs")).as_default(step=7):
        tf.summary.scalar(LOSS, 0.1, description="a *loss*")
        tf.summary.text("config", "a\nb")
        tf.summary.image("grid", image[np.newaxis], description="b")
        tf.summary.histogram("kl", [0.5, 2.0], description="c")
    Image.fromarray(image).save(png := io.BytesIO(), "PNG")
    file = events.EventFile(tmp_path / "ours")
    file.write_scalars(7, {Tag(LOSS, "a *loss*"): 0.1})
    file.write_text(7, "config", "a\nb")
    file.write_image(7, Tag("grid", "b"), png.getvalue(), height=2, width=3)
    file.write_histogram(7, Tag("kl", "c"), np.array([0.5, 2.0]))
    file.close()
    ours, theirs = read(tmp_path / "ours"), read(tmp_path / "theirs")
    assert ours.Tags() == theirs.Tags()
    for tag in (LOSS, "config", "grid", "kl"):
        assert ours.SummaryMetadata(tag) == theirs.SummaryMetadata(tag), tag
        (mine,), (expected,) = ours.Tensors(tag), theirs.Tensors(tag)
        assert mine.step == expected.step == 7
        values = [tf.make_ndarray(at.tensor_proto) for at in (mine, expected)]
        if tag == "grid":
            assert values[0][:2].tolist() == values[1][:2].tolist() == [b"3", b"2"]
            png = Image.open(io.BytesIO(values[0][2]))
            np.testing.assert_array_equal(np.asarray(png), image)
        else:
            np.testing.assert_array_equal(*values)


def test_what_is_written_is_there_at_once(tmp_path) -> None:
    file = events.EventFile(tmp_path)
    file.write_scalars(5, {Tag(LOSS, ""): 1.0})
    assert steps_of(tmp_path) == [5]
    file.close()


def test_truncation_leaves_no_file_for_tensorboard_to_read_twice(tmp_path) -> None:
    path = write_losses(tmp_path, 1, 2, 3)
    # A kill during an earlier truncation leaves such a file.
    path.with_name(f".{path.name}.tmp").write_bytes(path.read_bytes())
    events.truncate(tmp_path, 2)
    assert list(tmp_path.iterdir()) == [path]
    assert steps_of(tmp_path) == [1, 2]
    events.truncate(tmp_path, 0)
    assert not list(tmp_path.iterdir())


def test_a_run_of_an_earlier_version_goes_on_under_todays_tags(tmp_path) -> None:
    file = events.EventFile(tmp_path)
    for step in (1, 2):
        file.write_scalars(step, {Tag("latents/mean", ""): step / 2})
    file.write_histogram(2, Tag("latents/kl", ""), np.array([1.0]))
    file.write_image(2, Tag("samples/sampled", ""), b"png", height=1, width=1)
    file.write_text(2, "config", "kept")
    file.close()
    events.truncate(tmp_path, 2)
    assert set(read(tmp_path).Tags()["tensors"]) == {
        *("posterior/mean", "posterior/kl_of_latents", "pictures/samples", "config")
    }
    points = read(tmp_path).Tensors("posterior/mean")
    assert [(point.step, tf.make_ndarray(point.tensor_proto)) for point in points] == [
        (1, 0.5),
        (2, 1.0),
    ]


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch) -> None:
    file = events.EventFile(tmp_path)
    monkeypatch.setattr(file, "_writer", tf.io.TFRecordWriter("/dev/full"))
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}"):
        file.write_scalars(1, {Tag(LOSS, ""): 1.0})


def test_a_directory_that_cannot_be_made_is_an_error_of_the_system(tmp_path) -> None:
    (tmp_path / "train").write_text("a file")
    with pytest.raises(FileExistsError):
        events.EventFile(tmp_path / "train")
