import os
import pathlib

import pytest

from trainer.distribution import strategies
from trainer.distribution.cluster import Cluster


@pytest.mark.parametrize(
    ("num_gpus", "virtual_devices", "message"),
    [
        (8, None, "^num_gpus=8 must be from 0 to 0, the number of GPUs .*'..gpu.'"),
        (-1, None, "^num_gpus=-1 must be from 0 to 0, the number of GPUs"),
        (
            1,
            2,
            "^virtual_devices=2 trains on the CPU, but num_gpus=1 trains on GPUs",
        ),
        (None, 0, "^virtual_devices=0 must be at least 1"),
    ],
)
def test_devices_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch,
    num_gpus: int | None,
    virtual_devices: int | None,
    message: str,
) -> None:
    monkeypatch.setattr(strategies.tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(ValueError, match=message):
        strategies.make_strategy(num_gpus, virtual_devices)


def test_gpu_memory_is_read_from_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '40960\\n81920\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert strategies.gpu_memory_mib() == [40960, 81920]


def test_without_nvidia_smi_the_flag_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="gpu_memory_fraction` below 1 needs nvidia"):
        strategies.gpu_memory_mib()


@pytest.mark.parametrize(
    ("addresses", "before", "after"),
    [
        ((), None, "lo"),
        ((), "eth1", "eth1"),
        (("127.0.0.1:1", "127.0.0.1:2"), None, "lo"),
        (("10.0.0.1:1", "10.0.0.2:1"), None, None),
    ],
)
def test_nccl_of_one_machine_listens_on_its_loopback(
    monkeypatch: pytest.MonkeyPatch,
    addresses: tuple[str, ...],
    before: str | None,
    after: str | None,
) -> None:
    name = "NCCL_SOCKET_IFNAME"
    # Set the variable first, so monkeypatch restores it.
    monkeypatch.setenv(name, "any")
    monkeypatch.delenv(name)
    if before:
        monkeypatch.setenv(name, before)
    strategies._keep_nccl_local(Cluster(addresses, 0, "") if addresses else None)
    assert os.environ.get(name) == after


@pytest.mark.parametrize("fraction", [0.0, 1.5])
def test_a_share_of_memory_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 and at most 1"):
        strategies._limit_gpu_memory([], fraction)
