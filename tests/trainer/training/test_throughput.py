import pytest

from trainer.training import throughput


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput.time, "monotonic", clock)
    return clock


def test_the_first_call_compiles_and_does_not_count(clock: Clock) -> None:
    speed = throughput.Meter()
    clock.now += 60
    speed.record_call(1, 0.0)
    assert speed.steps_per_call == 1
    assert speed.take_rate() is None
    clock.now += 1
    speed.record_call(10, 0.25)
    assert speed.take_rate() == throughput.Rate(pytest.approx(10), pytest.approx(0.25))
    assert speed.take_rate() is None


def test_a_call_aims_at_half_a_second(clock: Clock) -> None:
    speed = throughput.Meter()
    speed.record_call(1, 0.0)
    clock.now += 1
    speed.record_call(40, 0.0)
    assert speed.steps_per_call == 20
    clock.now += 30
    speed.record_call(1, 0.0)
    assert speed.steps_per_call == 1


def test_time_in_other_work_is_left_out(clock: Clock) -> None:
    speed = throughput.Meter()
    speed.record_call(1, 0.0)
    clock.now += 1
    speed.record_call(5, 0.1)
    clock.now += 100
    speed.skip()
    clock.now += 1
    speed.record_call(5, 0.1)
    # Two calls of one second each, with five steps and a tenth of a second's wait.
    assert speed.take_rate() == throughput.Rate(pytest.approx(5), pytest.approx(0.1))
