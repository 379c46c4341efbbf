"""Processes that train together, also when a process dies."""

import os
import pathlib
import re
import shutil
import signal
import socket
import time

import pytest

from pipeline.process import ports
from tests import network, preloaded
from tests.pipeline.commands import children
from tests.trainer.trained_runs import (
    SMALL_MODEL,
    Run,
    start_training,
    stop_at_step,
    train,
    wait_for_step,
)
from trainer.distribution import hosts
from trainer.distribution.cluster import Cluster
from trainer.system import supervisor

pytestmark = pytest.mark.slow

MODULE = "trainer.launch"
PAIR = ("--num_processes=2", "--virtual_devices=1")
# A run that never ends by itself, for tests that stop it.
ENDLESS = (*SMALL_MODEL, "--config.num_train_steps=-1")


@pytest.fixture(scope="module")
def small_run(
    dataset_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns an undisturbed run of 50 steps of the small model on one device."""
    workdir = tmp_path_factory.mktemp("runs") / "small"
    run = train(dataset_dir, workdir, *SMALL_MODEL, "--virtual_devices=1")
    assert run.returncode == 0, run.output
    return run


def assert_same(run: Run, expected: Run) -> None:
    """Checks losses, gradient norms and ledgers of all steps, and the last state."""
    assert run.metrics() == expected.metrics()
    assert run.metrics("validation") == expected.metrics("validation")
    name = "checkpoints/step-000000050/state.safetensors"
    assert (run.workdir / name).read_bytes() == (expected.workdir / name).read_bytes()


def test_two_hosts_compute_the_bits_of_one(
    reference_run: Run, dataset_dir, tmp_path
) -> None:
    run = train(dataset_dir, tmp_path / "run", *PAIR, module=MODULE)
    assert run.returncode == 0, run.output
    assert "replicas: 2; devices of this host: CPU:0" in run.output
    assert_same(run, reference_run)
    # Only the chief writes events; both processes write log lines.
    (events,) = (tmp_path / "run/train").glob("*tfevents*")
    assert "[0] " in run.output
    assert "[1] " in run.output


def test_a_run_grows_and_shrinks(small_run: Run, dataset_dir, tmp_path) -> None:
    stages = [
        (6, "trainer.train", ("--virtual_devices=1",)),
        (12, "trainer.train", ("--virtual_devices=2",)),
        # This stage evaluates step 25 at its end, before the hosts of the next stage
        # start there.
        (25, "trainer.train", ("--virtual_devices=4",)),
        (38, MODULE, ("--num_processes=2", "--virtual_devices=2")),
        (50, "trainer.train", ("--virtual_devices=1",)),
    ]
    for step, module, flags in stages:
        run = train(
            dataset_dir,
            tmp_path / "run",
            *SMALL_MODEL,
            *flags,
            f"--config.num_train_steps={step}",
            module=module,
        )
        assert run.returncode == 0, run.output
    # Validation metrics differ, because each stage adds an evaluation at its end.
    assert run.metrics() == small_run.metrics()
    name = "checkpoints/step-000000050/state.safetensors"
    expected = (small_run.workdir / name).read_bytes()
    assert (run.workdir / name).read_bytes() == expected


@pytest.mark.parametrize("module", [MODULE, "trainer.train"])
def test_only_the_loopback_reaches_a_training(dataset_dir, tmp_path, module) -> None:
    flags = (*(PAIR if module == MODULE else PAIR[1:]), *ENDLESS)
    workdir = tmp_path / "run"
    process = start_training(dataset_dir, workdir, *flags, module=module)
    metrics = workdir / "metrics.jsonl"
    actual = network.reached(process, lambda: metrics.exists() and metrics.read_text())
    stopped = stop_at_step(process, workdir, 1, signal.SIGTERM)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.output
    assert "listens at" not in stopped.output
    assert len(actual) == (2 if module == MODULE else 0)
    assert set().union(*actual.values()) <= {"127.0.0.1"}


def test_a_signal_stops_all_hosts_at_one_step(
    small_run: Run, dataset_dir, tmp_path
) -> None:
    launcher = start_training(
        dataset_dir, tmp_path / "run", *PAIR, *SMALL_MODEL, module=MODULE
    )
    stopped = stop_at_step(launcher, tmp_path / "run", 5, signal.SIGTERM)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.output
    last = max(stopped.metrics())
    message = re.findall(r"\[(\d)\] .*stopped at step (\d+) by SIGTERM", stopped.output)
    assert sorted(message) == [("0", str(last)), ("1", str(last))]
    resumed = train(dataset_dir, tmp_path / "run", *SMALL_MODEL, "--virtual_devices=1")
    assert resumed.returncode == 0, resumed.output
    assert_same(resumed, small_run)


def test_hosts_go_when_their_launcher_is_killed(dataset_dir, tmp_path) -> None:
    launcher = start_training(
        dataset_dir, tmp_path / "run", *PAIR, *ENDLESS, module=MODULE
    )
    wait_for_step(tmp_path / "run", 5)
    pids = children(launcher.pid)
    assert len(pids) == 2
    os.kill(preloaded.copy_of(launcher.pid), signal.SIGKILL)
    launcher.communicate()
    end = time.monotonic() + 10
    while any(pathlib.Path(f"/proc/{pid}/status").exists() for pid in pids):
        assert time.monotonic() < end, "still there"
        time.sleep(0.05)


def test_what_a_restart_would_not_change_ends_at_once(dataset_dir, tmp_path) -> None:
    run = train(
        dataset_dir, tmp_path / "run", *PAIR, "--config.optimizer=x", module=MODULE
    )
    assert run.returncode == 1
    assert "error: --config.optimizer='x' must be adam or rmsprop" in run.output
    assert "restart" not in run.output


def free_addresses() -> tuple[str, ...]:
    """Returns free addresses for two hosts on this machine."""
    return tuple(f"127.0.0.1:{port}" for port in ports.find_free(2))


def test_hosts_may_have_disks_of_their_own(
    small_run: Run, dataset_dir, tmp_path
) -> None:
    disks = [tmp_path / "0", tmp_path / "1"]
    for disk in disks:
        shutil.copytree(dataset_dir, disk / "dataset")
    for step in (20, 50):
        addresses = free_addresses()
        processes = [
            start_training(
                disk / "dataset",
                disk / "run",
                *SMALL_MODEL,
                "--virtual_devices=1",
                f"--config.num_train_steps={step}",
                tf_config=Cluster(addresses, index, "").tf_config(),
            )
            for index, disk in enumerate(disks)
        ]
        for process in processes:
            output, _ = process.communicate(timeout=180)
            assert process.returncode == 0, output
    run = Run(disks[0] / "run", 0, "")
    assert run.metrics() == small_run.metrics()
    name = "checkpoints/step-000000050/state.safetensors"
    expected = (small_run.workdir / name).read_bytes()
    assert (run.workdir / name).read_bytes() == expected
    # Only the chief writes a workdir.
    assert [path.name for path in disks[1].iterdir()] == ["dataset"]


def test_hosts_of_other_settings_are_told(dataset_dir, tmp_path) -> None:
    addresses = free_addresses()
    processes = [
        start_training(
            dataset_dir,
            tmp_path / str(index),
            *SMALL_MODEL,
            "--virtual_devices=1",
            f"--config.seed={index}",
            tf_config=Cluster(addresses, index, "").tf_config(),
        )
        for index in range(2)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1, output
        assert (
            "the settings or the dataset of host 1 differ from those of the chief"
            in output
        )


def test_a_host_that_never_appears_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        absent = f"127.0.0.1:{listener.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(hosts.LostHostError) as error:
        hosts.wait_for_peers(Cluster((here, absent), 0, "TF_CONFIG"), timeout_secs=1)
    assert f"no answer from {absent} in 1 s: start the same command" in str(error.value)
    with socket.create_server(("", 0)) as taken:
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ValueError,
            match="cannot listen .* of this host in TF_CONFIG: [^(]* in use$",
        ):
            hosts.wait_for_peers(Cluster((here, absent), 0, "TF_CONFIG"), 1)


def test_a_single_process_has_the_clusters_environment() -> None:
    assert supervisor._environments(1) == [{}]
    assert len({actual["TF_CONFIG"] for actual in supervisor._environments(3)}) == 3
