import pytest

from trainer.training.cadence import Cadence

CADENCE = Cadence(
    num_train_steps=31,
    log_every_steps=4,
    eval_every_steps=6,
    image_every_steps=10,
    keep_checkpoint_every_steps=15,
)
STEPS = range(32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("is_logged", [0, 4, 8, 12, 16, 20, 24, 28, 31]),
        ("is_evaluated", [0, 6, 12, 18, 24, 30, 31]),
        ("is_pictured", [0, 10, 20, 30, 31]),
        ("is_kept", [0, 15, 30]),
    ],
)
def test_events_come_at_their_multiples_and_at_the_end(
    name: str, expected: list[int]
) -> None:
    assert [step for step in STEPS if getattr(CADENCE, name)(step)] == expected


def test_a_run_stops_at_every_event_and_at_its_end() -> None:
    step, stops = 0, []
    while step < CADENCE.num_train_steps:
        step += CADENCE.steps_to_next(step)
        stops.append(step)
    assert stops == [4, 6, 8, 10, 12, 15, 16, 18, 20, 24, 28, 30, 31]


def test_a_run_without_an_end_goes_on_to_its_events() -> None:
    endless = Cadence(-1, 4, 6, 10, 0)
    assert [step + endless.steps_to_next(step) for step in (0, 4, 30)] == [4, 6, 32]
    assert not endless.is_kept(0)
    assert not endless.is_logged(31)
