import pathlib

import pytest

from trainer.training import profiling


@pytest.mark.parametrize("text", ["", "5", "7:7", "9:7", "-1:3", "1:2:3", "a:b"])
def test_steps_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be FIRST:LAST, as in 100:110"):
        profiling.parse_steps(text)
    assert profiling.parse_steps(None) is None


def test_it_records_from_one_step_to_the_other(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    profile = profiling.tf.profiler.experimental
    monkeypatch.setattr(profile, "start", lambda directory: calls.append(directory))
    monkeypatch.setattr(profile, "stop", lambda: calls.append("stop"))
    recorder = profiling.Profiler((3, 5), tmp_path)
    other_host = profiling.Profiler((3, 5), None)
    for step, edges in ((0, [3]), (3, [2]), (4, [1]), (5, []), (9, [])):
        recorder.note(step)
        other_host.note(step)
        # Both hosts split their calls at the same steps.
        assert recorder.steps_to_edge(step) == edges == other_host.steps_to_edge(step)
    assert calls == [str(tmp_path), "stop"]
    # A profile that ends early is still written. A run that resumes within the profiled
    # steps starts a new profile.
    recorder.note(4)
    recorder.close()
    recorder.close()
    assert calls[2:] == [str(tmp_path), "stop"]


def test_without_steps_there_is_nothing_to_do(tmp_path: pathlib.Path) -> None:
    recorder = profiling.Profiler(None, tmp_path)
    recorder.note(0)
    assert recorder.steps_to_edge(0) == []
