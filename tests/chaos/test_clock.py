"""Sets the clock back between two starts of a run."""

from tests.chaos import trainers
from tests.chaos.machine import clock_set_back
from tests.chaos.reliability import scenario
from tests.trainer.trained_runs import Run

_DAY = 24 * 60 * 60


@scenario("the clock is set back by a day, after a kill", only_full=True)
def test_a_day_back(undisturbed: Run, tiny_dir, tmp_path, monkeypatch, row) -> None:
    workdir = tmp_path / "run"
    process = trainers.start(tiny_dir, workdir)
    trainers.wait_for_checkpoint(process, workdir, 20)
    trainers.kill(process, workdir)
    (before,) = (workdir / "train").glob("*tfevents*")
    with monkeypatch.context() as patch:
        for name, value in clock_set_back(tmp_path / "clock.so", _DAY).items():
            patch.setenv(name, value)
        run = trainers.run(tiny_dir, workdir)
    # The second start writes checkpoints with older file times. The checkpoint of its
    # last step must still be there.
    files = sorted(workdir.glob("checkpoints/*/state.safetensors"))
    assert files[-1].parent.name == f"step-{trainers.NUM_STEPS:09d}"
    # TensorBoard reads event files in the order of their names.
    assert [path.name for path in sorted((workdir / "train").iterdir())][
        0
    ] == before.name
    events = trainers.wall_times(workdir, "train")
    assert events[0] - events[-1] > _DAY - 600
    trainers.assert_same(run, undisturbed)
    row("it goes on; events stay in the order of their steps", "nothing")
