"""A run records its environment, and a resume elsewhere names the change."""

import json
import logging
import pathlib

import pytest

from pipeline.process import variables
from trainer.runs import environment

HERE = {"threads": "8", "device": "CPU", "instructions": "x86_64 avx2 fma"}


def record_with_log(
    caplog: pytest.LogCaptureFixture,
    run_dir: pathlib.Path,
    current: dict[str, str],
    *,
    is_resumed: bool,
) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="absl"):
        environment.record(run_dir, current, is_resumed=is_resumed)
    assert json.loads((run_dir / environment.FILE_NAME).read_text()) == current
    return caplog.text


def test_a_run_that_stays_where_it_is_has_no_warning(tmp_path, caplog) -> None:
    assert not record_with_log(caplog, tmp_path, HERE, is_resumed=False)
    assert not record_with_log(caplog, tmp_path, HERE, is_resumed=True)


def test_a_resume_elsewhere_names_each_change(tmp_path, caplog) -> None:
    record_with_log(caplog, tmp_path, HERE, is_resumed=False)
    there = {**HERE, "threads": "2", "instructions": "aarch64 asimd", "caches": "32K"}
    text = record_with_log(caplog, tmp_path, there, is_resumed=True)
    assert "threads was 8 and is now 2" in text
    assert "instructions was x86_64 avx2 fma and is now aarch64 asimd" in text
    assert "caches was unknown and is now 32K" in text
    assert "device" not in text
    assert "the losses may differ" in text


def test_an_older_run_is_resumed_with_a_warning(tmp_path, caplog) -> None:
    text = record_with_log(caplog, tmp_path, HERE, is_resumed=True)
    assert "an earlier release started this run" in text


def test_other_hosts_are_named(caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="absl"):
        environment.warn_of_hosts([])
        assert not caplog.text
        environment.warn_of_hosts([1, 3])
    assert (
        "host 1, 3 has another processor or other versions than host 0" in caplog.text
    )


def test_a_damaged_file_is_named(tmp_path) -> None:
    (tmp_path / environment.FILE_NAME).write_text("{")
    with pytest.raises(ValueError, match=r"environment\.json is damaged"):
        environment.record(tmp_path, HERE, is_resumed=True)


def test_the_processor_is_read_from_the_system(tmp_path, monkeypatch) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text("model : 1\nflags\t\t: fpu avx2 sse4_2 avx512_vnni sse\n")
    for number, (kind, size) in enumerate(
        [("Data", "48K"), ("Instruction", "32K"), ("Unified", "2048K")]
    ):
        folder = tmp_path / f"caches/index{number}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{kind}\n")
        (folder / "size").write_text(f"{size}\n")
    monkeypatch.setattr(environment, "_CPU_INFO", cpu_info)
    monkeypatch.setattr(environment, "_CACHES", tmp_path / "caches")
    actual = environment.describe(["CPU:0"])
    assert actual["instructions"].split()[1:] == [
        "avx2",
        "avx512_vnni",
        "sse",
        "sse4_2",
    ]
    assert actual["caches"] == "48K 2048K"
    assert actual["device"] == "CPU"
    monkeypatch.setattr(environment, "_CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(environment, "_CACHES", tmp_path / "none")
    actual = environment.describe(["CPU:0"])
    assert actual["instructions"].endswith(" unknown")
    assert actual["caches"] == "unknown"


def test_variables_that_round_otherwise_are_recorded_and_named(
    tmp_path, caplog, monkeypatch
) -> None:
    before = environment.describe(["CPU:0"])
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    monkeypatch.setattr(variables, "overridden", ["KERAS_BACKEND=jax", "NCCL_ALGO=a"])
    actual = environment.describe(["CPU:0"])
    assert actual == {**before, "XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    record_with_log(caplog, tmp_path, before, is_resumed=False)
    text = record_with_log(caplog, tmp_path, actual, is_resumed=True)
    assert "XLA_FLAGS was not set and is now --xla_cpu_enable_fast_math=true" in text
    assert "KERAS_BACKEND=jax is overridden" in text
    assert "NCCL_ALGO=a is overridden" in text
    assert text.count("; --kernel_variable=NAME=VALUE sets it") == 1
