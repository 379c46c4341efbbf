"""Cuts one host off from a network of two hosts."""

import subprocess
import sys
import time

from tests import network
from tests.chaos import tiny_dataset, trainers
from tests.chaos.reliability import scenario
from tests.trainer.trained_runs import Run
from trainer.distribution.cluster import DEFAULT_PORT, Cluster

# Limit that deploy/README.md states. Timeouts decide it, and not the speed of the
# machine.
_STATED_SECS = 30


@scenario("the link of one of two hosts goes down")
def test_a_host_that_is_cut_off(undisturbed: Run, tmp_path, row) -> None:
    # Each host has its own disk.
    datasets = [tiny_dataset.write(tmp_path / name) for name in ("dataset", "copy")]
    workdirs = [tmp_path / "run", tmp_path / "other"]
    with network.hosts(2) as hosts:
        addresses = tuple(f"{host.address}:{DEFAULT_PORT}" for host in hosts)

        def start_pair() -> list[subprocess.Popen[str]]:
            return [
                trainers.start(
                    datasets[index],
                    workdirs[index],
                    tf_config=Cluster(addresses, index, "").tf_config(),
                    prefix=host.prefix,
                    # Each host starts a new interpreter, as a real host would.
                    python=sys.executable,
                )
                for index, host in enumerate(hosts)
            ]

        pair = start_pair()
        trainers.wait_for_checkpoint(pair[0], workdirs[0], 20)
        hosts[1].cut()
        cut_at = time.monotonic()
        for process in pair:
            process.wait(2 * _STATED_SECS)
        seconds = time.monotonic() - cut_at
        message = [
            trainers.complaint(trainers.end(process, workdir), code=5)
            for process, workdir in zip(pair, workdirs, strict=True)
        ]
        assert seconds < _STATED_SECS
        for line, lost in zip(message, (1, 0), strict=True):
            assert f"host {lost} ({addresses[lost]}) is gone, or does not" in line
        step = trainers.last_step(workdirs[0])
        assert 20 <= step < trainers.NUM_STEPS
        assert trainers.last_step(workdirs[1]) == -1
        hosts[1].restore()
        chief, other = map(trainers.end, start_pair(), workdirs)
    assert f"resuming at step {step}" in chief.output
    assert other.returncode == 0, other.output
    trainers.assert_same(chief, undisturbed)
    row(
        f"noticed after {seconds:.0f} s; both end with exit code 5",
        "nothing, once the link is up and both are started again",
        message[0],
        **{"HOST:PORT": addresses[1]},
    )
