"""The doctor names every failure in one line, and a setup that passes really trains."""

import contextlib
import json
import pathlib
import shutil
import socket
from collections.abc import Iterator

import pytest

from configs import celeba_debug
from pipeline.process import variables
from tests import rights
from tests.trainer.trained_runs import ROOT, Run, run_module, train
from trainer.distribution.cluster import Cluster
from trainer.operations import checks
from trainer.operations.diagnosis import Diagnosis
from trainer.system import machine

NAMES = (
    "versions",
    "names",
    "environment",
    "hosts",
    "addresses",
    "devices",
    "dataset",
    "shards",
    "settings",
    "batch",
    "model",
    "evaluation",
    "memory",
    "workdir",
    "checkpoints",
    "permission",
    "disk",
    "tensorboard",
)


def look(
    dataset: pathlib.Path,
    run: pathlib.Path,
    num_gpus: int | None = None,
    virtual_devices: int | None = 1,
    is_full: bool = False,
    **values: object,
) -> dict[str, checks.Finding]:
    """Returns the findings by the name of their check; each finding is one line."""
    config = celeba_debug.get_config()
    config.update(values)
    diagnosis = Diagnosis(
        config, str(dataset), run, num_gpus, virtual_devices, is_full=is_full
    )
    actual = {each.check.name: each for each in checks.make_all(diagnosis.checks())}
    assert tuple(actual) == NAMES, "all are made"
    assert all("\n" not in str(finding) for finding in actual.values())
    return actual


def failed(found: dict[str, checks.Finding]) -> dict[str, str]:
    """Returns the lines of the failed checks."""
    return {name: str(each) for name, each in found.items() if each.status == "fail"}


def files(directory: pathlib.Path) -> dict[pathlib.Path, tuple[int, int]]:
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [directory, *directory.rglob("*")]
    }


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


@pytest.fixture
def copied(dataset_dir: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a copy of the dataset for the test to damage."""
    return pathlib.Path(shutil.copytree(dataset_dir, tmp_path / "dataset"))


@pytest.fixture
def copied_run(reference_run: Run, tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a copy of the workdir of a run of 50 steps."""
    return pathlib.Path(shutil.copytree(reference_run.workdir, tmp_path / "run"))


@pytest.mark.slow
def test_what_is_sound_trains_and_nothing_is_written(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    run = tmp_path / "parent/run"
    flags = ("--virtual_devices=2", "--config.num_train_steps=2")
    command = (
        f"--config={ROOT}/configs/celeba_debug.py",
        f"--dataset={dataset_dir}",
        f"--workdir={run}",
        *flags,
    )
    first = run_module("trainer.doctor", *command, "--full")
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stderr == ""
    lines = first.stdout.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == list(NAMES)
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    assert (
        f"ok   shards (--dataset={dataset_dir}): train 16, validation 2;"
        in first.stdout
    )
    assert "sizes and sha256" in first.stdout
    assert "examples: 16, groups: 4, replicas: 2, hosts: 1" in first.stdout
    assert not run.parent.exists()
    trained = train(dataset_dir, run, *flags)
    assert trained.returncode == 0, trained.output
    before = files(run)
    second = run_module("trainer.doctor", *command)
    # `train` used another cadence, which a resume may change.
    assert second.returncode == 0, second.stdout
    assert "the run will resume at step 2" in second.stdout
    assert files(run) == before


def test_wrong_flags_are_one_line_and_a_failure_is_exit_code_1(
    tmp_path: pathlib.Path,
) -> None:
    flags = (f"--config={ROOT}/configs/celeba_debug.py", f"--dataset={tmp_path}/none")
    done = run_module("trainer.doctor", *flags, f"--workdir={tmp_path}/run")
    assert done.returncode == 1
    assert f"fail dataset (--dataset={tmp_path}/none): the dataset" in done.stdout
    done = run_module("trainer.doctor", *flags)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "--workdir" in line


@pytest.mark.parametrize(
    ("values", "name", "text"),
    [
        ({"num_gpus": 8, "virtual_devices": None}, "devices", "num_gpus=8 must be"),
        ({"virtual_devices": 0}, "devices", "virtual_devices=0 must be"),
        ({"learning_rate": 0.0}, "settings", "config.learning_rate=0.0 must be"),
        ({"virtual_devices": 3}, "batch", "`config.global_batch_size` to a multiple"),
        ({"num_batch_groups": 5}, "batch", "config.num_batch_groups=5 equal"),
        (
            {"gradient_accumulation_steps": 0},
            "batch",
            "config.gradient_accumulation_steps=0 must be at least 1",
        ),
        ({"train_split": "trian"}, "shards", "config.train_split=trian: no split"),
        ({"eval_split": "dev"}, "shards", "config.eval_split=dev: no split 'dev'"),
        ({"encoder_filters": (8, 16)}, "model", "`config.encoder_filters`"),
        ({"optimizer": "sgd"}, "model", "config.optimizer='sgd' must be"),
        ({"condition": "label"}, "model", "config.condition=label needs"),
        ({"eval_line": "{fid}"}, "evaluation", "config.eval_line='{fid}' cannot"),
    ],
)
def test_a_wrong_setting_fails_alone(
    dataset_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    values: dict,
    name: str,
    text: str,
) -> None:
    actual = failed(look(dataset_dir, tmp_path / "run", **values))
    assert list(actual) == [name]
    assert text in actual[name]


def test_what_changes_numbers_has_a_line_each(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actual = look(dataset_dir, tmp_path / "run")["environment"]
    assert (
        str(actual)
        == "ok   environment: no variable or file changes the results of a run"
    )
    overridden = ["KERAS_BACKEND=jax", "NVIDIA_TF32_OVERRIDE=0"]
    monkeypatch.setattr(variables, "overridden", overridden)
    looked_at = Diagnosis(celeba_debug.get_config(), "", tmp_path).checks()
    expected = [check for check in looked_at if check.name == "environment"]
    lines = [str(finding) for finding in checks.make_all(expected)]
    assert lines[0].startswith("warn environment: KERAS_BACKEND=jax is overridden: ")
    assert lines[1].startswith("warn environment: NVIDIA_TF32_OVERRIDE=0 is over")
    assert lines[1].endswith("; --kernel_variable=NAME=VALUE sets it")


def test_all_is_looked_at_whatever_failed(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "file").touch()
    actual = look(
        dataset_dir,
        tmp_path / "file/run",
        num_gpus=3,
        virtual_devices=None,
        learning_rate=-1.0,
        eval_split="dev",
    )
    assert list(failed(actual)) == [
        "devices",
        "shards",
        "settings",
        "batch",
        "permission",
    ]
    # The message names the number of devices that the user asked for.
    assert "shared equally by 3 replicas" in str(actual["batch"])
    assert "because settings, batch failed" in str(actual["model"])


def test_damaged_datasets(copied: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run = tmp_path / "run"
    shard = sorted(copied.glob("*-train.tfrecord-*"))[3]
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not failed(look(copied, run))
    actual = failed(look(copied, run, is_full=True))
    assert list(actual) == ["shards"]
    assert f"(dataset={copied}): config.train_split=train: shard" in actual["shards"]
    assert f"{shard.name} has the sha256" in actual["shards"]
    shard.write_bytes(data[:-1])
    assert (
        f"{shard.name} has {len(data) - 1} bytes" in failed(look(copied, run))["shards"]
    )
    shard.unlink()
    assert "cannot be read" in failed(look(copied, run))["shards"]
    manifest = copied / "manifest.json"
    body = json.loads(manifest.read_text())
    body["settings"]["seed"] = 1
    manifest.write_text(json.dumps(body))
    actual = failed(look(copied, run))
    assert list(actual) == ["dataset"]
    assert "does not match its own digest" in actual["dataset"]
    manifest.unlink()
    assert "is not finished" in failed(look(copied, run))["dataset"]


def test_a_workdir_of_another_run(
    copied_run: pathlib.Path, copied: pathlib.Path
) -> None:
    steps = {"num_train_steps": 60}
    before = files(copied_run)
    assert not failed(look(copied, copied_run, **steps))
    actual = failed(look(copied, copied_run, latent_dim=9, **steps))
    assert list(actual) == ["workdir"]
    assert f"(workdir={copied_run}): " in actual["workdir"]
    assert "`config.latent_dim` was 8 and is now 9" in actual["workdir"]
    actual = failed(look(copied, copied_run, num_train_steps=49))
    assert list(actual) == ["checkpoints"]
    assert "config.num_train_steps=49" in actual["checkpoints"]
    assert files(copied_run) == before


def test_damaged_checkpoints(
    copied_run: pathlib.Path, dataset_dir: pathlib.Path
) -> None:
    newest = copied_run / "checkpoints/step-000000050"
    shutil.copytree(newest, copied_run / "checkpoints/step-000000055")
    (copied_run / "checkpoints/step-000000055/state.safetensors").write_bytes(b"")
    actual = look(dataset_dir, copied_run, num_train_steps=60)["checkpoints"]
    assert actual.status == "warn"
    assert "step-000000055 is damaged, so the run will resume at step 50" in str(actual)
    for path in (copied_run / "checkpoints").glob("*/state.safetensors"):
        path.write_bytes(b"")
    actual = failed(look(dataset_dir, copied_run, num_train_steps=60))
    assert list(actual) == ["checkpoints"]
    assert "is damaged (number of checkpoints" in actual["checkpoints"]


def test_a_workdir_that_cannot_be_written(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "train").touch()
    actual = failed(look(dataset_dir, run))
    assert list(actual) == ["permission"]
    assert f"(workdir={run}): {run}/train is a file" in actual["permission"]


def test_a_workdir_of_another_user(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    findings = rights.call_as_user(look, dataset_dir, tmp_path / "locked/run")
    actual = failed(findings)
    assert list(actual) == ["permission"]
    assert "choose another `workdir`" in actual["permission"]


def test_too_little_memory(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actual = look(dataset_dir, tmp_path / "run", global_batch_size=2**24)["memory"]
    assert actual.status == "warn"
    assert "lower `config.global_batch_size`" in str(actual)
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_MEMORY_LIMITS", (limit,))
    limit.write_text("max\n")
    assert machine.memory_bytes() > 1_000_000
    limit.write_text("1000000\n")
    actual = failed(look(dataset_dir, tmp_path / "run"))
    assert list(actual) == ["memory"]
    assert "this machine has 1 MB: lower `config.latent_dim`" in actual["memory"]


def test_too_little_disk(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    many = {"num_train_steps": 10**9, "image_every_steps": 1}
    actual = look(dataset_dir, run, **many)["disk"]
    assert actual.status == "warn"
    assert "raise `config.image_every_steps`" in str(actual)
    monkeypatch.setattr(machine, "free_disk_bytes", lambda path: 1_000_000)
    actual = failed(look(dataset_dir, run))
    assert list(actual) == ["disk"]
    assert "the disk has 1 MB free: lower `config.keep_checkpoints`" in actual["disk"]


def test_hosts_that_cannot_train_together(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setenv("TF_CONFIG", "{")
    actual = failed(look(dataset_dir, run))
    assert list(actual) == ["hosts"]
    assert "TF_CONFIG={ does not say which hosts train" in actual["hosts"]
    with free_port() as port:
        addresses = (f"localhost:{port}", "host.invalid:2222", "localhost:1")
    monkeypatch.setenv("TF_CONFIG", Cluster(addresses, 0, "").tf_config())
    actual = failed(look(dataset_dir, run, global_batch_size=48))
    assert list(actual) == ["addresses"]
    assert "no such host: host.invalid:2222 (" in actual["addresses"]
    assert "correct TF_CONFIG" in actual["addresses"]
    with socket.create_server(("", 0)) as server:
        addresses = (f"localhost:{server.getsockname()[1]}", "localhost:1")
        monkeypatch.setenv("TF_CONFIG", Cluster(addresses, 0, "").tf_config())
        actual = failed(look(dataset_dir, run))
    assert list(actual) == ["addresses"]
    assert "the address of this host in TF_CONFIG" in actual["addresses"]


def test_the_port_of_tensorboard(
    dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with contextlib.ExitStack() as stack:
        # Another process may already use the port.
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 6006)))
        actual = look(dataset_dir, tmp_path / "run")["tensorboard"]
    assert actual.status == "warn"
    assert "`port`" in str(actual)
