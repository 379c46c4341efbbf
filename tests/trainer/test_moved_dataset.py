"""Commands on a run after its dataset was moved or deleted."""

import json
import pathlib

import numpy as np
import pytest

from tests.trainer.trained_runs import Run, run_module

# Files that each mode writes without the dataset.
WRITTEN = {
    "sample": ["sample-num=4.npz", "sample-num=4.png"],
    "decode": ["decode-num=4-latents=z.npz", "decode-num=4-latents=z.png"],
    "interpolate": [f"interpolate-num=4.{kind}" for kind in ("gif", "npz", "png")],
    "traverse": [f"traverse-num=4.{kind}" for kind in ("gif", "npz", "png")],
}
MISSED = (
    "error: the dataset /nowhere/dataset is missing: give its directory by --dataset"
)


def flags_of(mode: str, directory: pathlib.Path) -> list[str]:
    flags = [f"--mode={mode}", f"--output={directory / 'made'}", "--num=4"]
    if mode == "decode":
        (directory / "z.json").write_text(json.dumps([[0.5] * 8]))
        flags.append(f"--latents={directory / 'z.json'}")
    return flags


@pytest.mark.parametrize("mode", WRITTEN)
def test_images_are_made_without_the_dataset(
    mode: str, moved_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = flags_of(mode, tmp_path)
    done = run_module("trainer.generate", f"--workdir={moved_dir}", *flags)
    assert done.returncode == 0, done.stderr
    created = tmp_path / "made"
    assert sorted(path.name for path in created.iterdir()) == WRITTEN[mode]
    described = "/nowhere/dataset is missing: starting from draws of the prior"
    assert (described in done.stderr) == (mode in ("interpolate", "traverse"))
    if mode == "interpolate":
        with np.load(created / "interpolate-num=4.npz") as arrays:
            assert arrays["keys"].shape == (0,)
            assert arrays["z"].shape == (4, 8)
            assert (arrays["z"][0] != arrays["z"][-1]).any()


@pytest.mark.parametrize("mode", ["sample", "decode"])
def test_images_are_those_of_the_run_beside_its_dataset(
    mode: str, moved_dir: pathlib.Path, reference_run: Run, tmp_path: pathlib.Path
) -> None:
    actual = []
    for name, workdir in (("moved", moved_dir), ("kept", reference_run.workdir)):
        (tmp_path / name).mkdir()
        flags = flags_of(mode, tmp_path / name)
        done = run_module("trainer.generate", f"--workdir={workdir}", *flags)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / name / "made" / WRITTEN[mode][0]) as arrays:
            actual.append(dict(arrays))
    assert actual[0].keys() == actual[1].keys()
    for name, values in actual[0].items():
        np.testing.assert_array_equal(values, actual[1][name])


@pytest.mark.slow
def test_a_run_is_exported_without_the_dataset(
    moved_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "export"
    done = run_module("trainer.export", f"--workdir={moved_dir}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"step 50 is exported to {output}\n"
    assert (output / "saved_model.pb").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--mode=reconstruct"],
        ["--mode=posterior"],
        ["--mode=transform"],
        ["--mode=attributes"],
        ["--mode=neighbours"],
        ["--mode=project"],
        ["--mode=browse"],
        ["--mode=sample", "--prior=mixture"],
        ["--mode=traverse", "--where=Smiling=1"],
    ],
    ids=" ".join,
)
def test_a_mode_that_reads_the_dataset_names_it(
    flags: list[str], moved_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "made"
    done = run_module(
        "trainer.generate", f"--workdir={moved_dir}", f"--output={output}", *flags
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == MISSED
    assert "Traceback" not in done.stderr
    assert not list(output.iterdir())


def test_scores_need_the_dataset(
    moved_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "scores.json"
    done = run_module(
        "trainer.evaluate", f"--workdir={moved_dir}", f"--output={output}"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == MISSED
    assert "Traceback" not in done.stderr
    assert not output.exists()


def test_a_dataset_that_is_given_is_read(
    moved_dir: pathlib.Path, dataset_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    done = run_module(
        "trainer.generate",
        f"--workdir={moved_dir}",
        f"--dataset={dataset_dir}",
        "--mode=interpolate",
        f"--output={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    assert "draws of the prior" not in done.stderr
    with np.load(tmp_path / "interpolate.npz") as arrays:
        assert arrays["keys"].shape == (2,)
