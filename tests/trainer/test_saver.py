import concurrent.futures
import json
import pathlib
import threading

import numpy as np
import pytest

from runs import train
from trainer import checkpoints, saver

ARRAYS = {"step": np.int64(5)}


def steps_in(directory: pathlib.Path) -> list[int]:
    return sorted(map(checkpoints.step_of, checkpoints.list_newest_first(directory)))


@pytest.fixture
def make_saver(tmp_path):
    """Returns a function that makes savers, which are closed in the end."""
    made = []

    def make(**retention: int) -> saver.Saver:
        made.append(saver.Saver(tmp_path, saver.Retention(**retention)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_caller_does_not_wait_for_the_disk(tmp_path, make_saver, monkeypatch):
    is_asked, may_go_on = threading.Event(), threading.Event()
    save = checkpoints.save

    def slow_save(*arguments) -> pathlib.Path:
        is_asked.set()
        assert may_go_on.wait(30)
        return save(*arguments)

    monkeypatch.setattr(checkpoints, "save", slow_save)
    writer = make_saver(num_newest=3)
    writer.save(1, ARRAYS, {})
    # It is here while the disk is at work.
    assert is_asked.wait(30)
    assert steps_in(tmp_path) == []
    second = threading.Thread(target=writer.save, args=(2, ARRAYS, {}))
    second.start()
    second.join(0.2)
    assert second.is_alive(), "the second came before the first was whole"
    may_go_on.set()
    second.join(30)
    writer.wait()
    assert steps_in(tmp_path) == [1, 2]


def test_a_failure_is_told_when_the_next_is_asked_for(make_saver, monkeypatch):
    def fail(*_) -> None:
        raise OSError(28, "No space left on device")

    writer = make_saver(num_newest=3)
    monkeypatch.setattr(checkpoints, "save", fail)
    writer.save(1, ARRAYS, {})
    with pytest.raises(OSError, match="No space left"):
        writer.save(2, ARRAYS, {})
    writer.wait()


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        ({"num_newest": 1}, [60]),
        ({"num_newest": 2}, [50, 60]),
        ({"num_newest": 1, "every_steps": 20}, [20, 40, 60]),
        ({"num_newest": 1, "every_steps": 7}, [60]),
        # Its ELBO is the best, and the newer of two that are equal.
        ({"num_newest": 1, "num_best": 1}, [20, 60]),
        ({"num_newest": 1, "num_best": 2}, [20, 50, 60]),
        ({"num_newest": 1, "num_best": 9}, [10, 20, 40, 50, 60]),
    ],
)
def test_which_ones_stay(tmp_path, make_saver, retention, expected):
    elbos = {10: -9.0, 20: -3.0, 40: -5.0, 50: -5.0}
    writer = make_saver(**retention)
    for step in range(10, 70, 10):
        meta = {"elbo": elbos[step]} if step in elbos else {}
        writer.save(step, ARRAYS, meta)
    writer.wait()
    assert steps_in(tmp_path) == expected


def test_what_is_among_the_best(make_saver):
    writer = make_saver(num_newest=1, num_best=2)
    assert not writer.is_among_best(None)
    for step, elbo, is_best in ((1, -9.0, True), (2, -7.0, True), (3, -8.0, True)):
        assert writer.is_among_best(elbo) == is_best
        writer.save(step, ARRAYS, {"elbo": elbo})
    assert not writer.is_among_best(-8.5)
    assert not make_saver(num_newest=1).is_among_best(0.0)


def test_a_run_keeps_its_best_and_every_so_many_steps(dataset_dir, tmp_path):
    run = train(
        dataset_dir,
        tmp_path / "run",
        "--virtual_devices=1",
        "--config.num_train_steps=12",
        "--config.eval_every_steps=2",
        "--config.image_every_steps=100",
        "--config.keep_checkpoints=1",
        "--config.keep_best_checkpoints=1",
        "--config.keep_checkpoint_every_steps=5",
    )
    assert run.returncode == 0, run.output
    elbos = {step: line["elbo"] for step, line in run.metrics("validation").items()}
    best = max((step for step in elbos if step), key=lambda step: elbos[step])
    found = steps_in(tmp_path / "run/checkpoints")
    assert found == sorted({best, 5, 10, 12})
    meta = tmp_path / f"run/checkpoints/step-{best:09d}" / checkpoints.META_NAME
    assert json.loads(meta.read_text())["elbo"] == elbos[best]


def test_a_failure_is_told_before_the_next_checkpoint(make_saver, monkeypatch):
    def fail(*arguments) -> None:
        raise OSError("no space")

    monkeypatch.setattr(checkpoints, "save", fail)
    writer = make_saver(num_newest=3)
    writer.check()
    writer.save(1, ARRAYS, {})
    concurrent.futures.wait([writer._background._pending])
    with pytest.raises(OSError, match="no space"):
        writer.check()
    # It is told once.
    writer.check()
