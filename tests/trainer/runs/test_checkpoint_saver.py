import concurrent.futures
import json
import pathlib
import threading

import numpy as np
import pytest

from tests.trainer.runs.sealed import npz, seal
from tests.trainer.trained_runs import train
from trainer.runs import checkpoint_saver, checkpoints

ARRAYS = {"step": np.int64(5)}


def steps_in(directory: pathlib.Path) -> list[int]:
    return sorted(map(checkpoints.step_of, checkpoints.list_newest_first(directory)))


@pytest.fixture
def make_saver(tmp_path):
    """Returns a function that makes savers; the fixture closes them at the end."""
    savers = []

    def make(**retention: int) -> checkpoint_saver.Saver:
        savers.append(
            checkpoint_saver.Saver(tmp_path, checkpoint_saver.Retention(**retention))
        )
        return savers[-1]

    yield make
    for one in savers:
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
    # `save` has returned, while the disk is still at work.
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
        # Step 20 has the best ELBO. Steps 40 and 50 have the same ELBO; the newer step
        # ranks higher.
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


def flip(directory: pathlib.Path, step: int) -> None:
    (path,) = directory.glob(f"step-{step:09d}/state.*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def set_aside_in(directory: pathlib.Path) -> list[int]:
    return sorted(map(checkpoints.step_of, checkpoints.list_set_aside(directory)))


@pytest.mark.parametrize(
    ("retention", "flipped", "expected", "set_aside"),
    [
        # The newest three whole checkpoints stay, even with damaged checkpoints between
        # them.
        ({"num_newest": 3}, [50, 40], [20, 30, 60], [40, 50]),
        ({"num_newest": 1}, [50], [60], []),
        ({"num_newest": 2}, [50], [40, 60], [50]),
        # Step 20 has the best ELBO. If it were whole, it alone would stay for its ELBO.
        ({"num_newest": 1, "num_best": 1}, [20], [50, 60], [20]),
        ({"num_newest": 1, "num_best": 2}, [20, 50], [10, 40, 60], [50]),
        # A checkpoint kept by `every_steps` pushes no other out. A damaged checkpoint
        # is set aside only if it would be among the newest or the best.
        ({"num_newest": 2, "every_steps": 10}, [20], [10, 20, 30, 40, 50, 60], []),
    ],
)
@pytest.mark.parametrize("num_earlier", [0, 3, 5])
def test_damaged_ones_do_not_count(
    tmp_path, make_saver, retention, flipped, expected, set_aside, num_earlier
):
    elbos = {10: -9.0, 20: -3.0, 40: -6.0, 50: -5.0}
    keeps_all = make_saver(num_newest=9)
    for number, step in enumerate(range(10, 60, 10)):
        meta = {"elbo": elbos[step]} if step in elbos else {}
        if number < num_earlier:
            # Write it in the format of an earlier release.
            path = tmp_path / f"step-{step:09d}"
            seal(path, "state.npz", npz(ARRAYS), **meta)
        else:
            keeps_all.save(step, ARRAYS, meta)
    keeps_all.wait()
    for step in flipped:
        flip(tmp_path, step)
    writer = make_saver(**retention)
    writer.save(60, ARRAYS, {})
    writer.wait()
    assert steps_in(tmp_path) == expected
    assert set_aside_in(tmp_path) == set_aside


def test_as_many_damaged_ones_stay_as_whole_ones(tmp_path, make_saver):
    writer = make_saver(num_newest=2)
    for step in range(10):
        writer.save(step, ARRAYS, {})
        writer.wait()
        if step % 2:
            flip(tmp_path, step)
    assert steps_in(tmp_path)[-1] == 9
    writer.save(10, ARRAYS, {})
    writer.wait()
    assert steps_in(tmp_path) == [8, 10]
    assert set_aside_in(tmp_path) == [7, 9]


def test_a_damaged_one_is_not_the_best(tmp_path, make_saver):
    writer = make_saver(num_newest=3, num_best=1)
    writer.save(1, ARRAYS, {"elbo": -5.0})
    writer.save(2, ARRAYS, {"elbo": -1.0})
    assert not writer.is_among_best(-3.0)
    flip(tmp_path, 2)
    assert writer.is_among_best(-3.0)


def test_what_was_logged_is_on_the_disk_first(tmp_path, make_saver):
    seen = []
    one = checkpoint_saver.Saver(
        tmp_path,
        checkpoint_saver.Retention(1),
        before=lambda: seen.append(steps_in(tmp_path)),
    )
    for step in (1, 2):
        one.save(step, ARRAYS, {})
    one.close()
    assert seen == [[], [1]]


def test_what_is_among_the_best(make_saver):
    writer = make_saver(num_newest=1, num_best=2)
    assert not writer.is_among_best(None)
    for step, elbo, is_best in ((1, -9.0, True), (2, -7.0, True), (3, -8.0, True)):
        assert writer.is_among_best(elbo) == is_best
        writer.save(step, ARRAYS, {"elbo": elbo})
    assert not writer.is_among_best(-8.5)
    assert not make_saver(num_newest=1).is_among_best(0.0)


@pytest.mark.slow
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
    actual = steps_in(tmp_path / "run/checkpoints")
    assert actual == sorted({best, 5, 10, 12})
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
    # The error is raised only once.
    writer.check()
