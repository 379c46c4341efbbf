"""Only processes on the same machine reach the ports of a local run, by loopback."""

import subprocess
import sys

import pytest

from pipeline.jobs import worker
from tests import network
from tests.pipeline import commands, exports

_PROCESSES = "--direct_running_mode=multi_processing"


def ports(command: list[str]) -> dict[int, set[str]]:
    """Runs a command and returns the addresses that answered, keyed by port."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        addresses = network.reached(process)
        assert process.wait() == 0, process.stderr.read()
    return addresses


@pytest.mark.parametrize(
    ("num_images", "beam_flags", "num_ports"),
    [
        (worker.PROCESSES_FROM_IMAGES, (), 4),
        (30, ("--direct_running_mode=multi_threading",), 4),
        # With this runner Beam tries Prism, so the launcher serves a pool of workers.
        (30, ("--runner=DirectRunner",), 1),
    ],
)
def test_only_the_loopback_reaches_a_prepare(
    make_celeba, tmp_path, num_images, beam_flags, num_ports
):
    faces = make_celeba(num_images, has_labels=False).write(tmp_path / "faces")
    flags = ("--image_size=8", "--num_workers=2", *beam_flags)
    addresses = ports(commands.command(faces, tmp_path / "dataset", *flags))
    assert len(addresses) == num_ports
    assert set.union(*addresses.values()) == {"127.0.0.1"}


@pytest.mark.slow
def test_only_the_loopback_reaches_an_encode(input_dir, tmp_path):
    dataset = tmp_path / "dataset"
    done = commands.run_command(input_dir, dataset, "--image_size=8", "--shard_size=8")
    assert done.returncode == 0, done.stderr
    model = exports.write(tmp_path / "export", dataset)
    command = [sys.executable, "-m", "pipeline.encode", f"--model={model}"]
    command += [f"--dataset={dataset}", f"--output={tmp_path / 'latents'}"]
    addresses = ports([*command, "--num_workers=2", _PROCESSES])
    assert len(addresses) == 4
    assert set.union(*addresses.values()) == {"127.0.0.1"}
