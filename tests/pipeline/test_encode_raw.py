"""Latents of raw images equal the latents of a dataset of these images."""

import dataclasses
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from pipeline import contract
from pipeline.latents import export_description, latent_plan
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import files
from tests import preloaded
from tests.pipeline import calls, exports
from tests.pipeline.commands import kept_shards, num_finished, run_command, wait_until
from tests.pipeline.dataset.test_passing_faults import flip_a_bit_of
from tests.pipeline.test_verify import faults

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = Settings(image_size=8, image_dtype="uint8", crop_size=40)


def command(model, output, *arguments, python: str = "") -> list[str]:
    program = [python or preloaded.shared_python(), "-m", "pipeline.encode"]
    return [*program, f"--model={model}", f"--output={output}", *map(str, arguments)]


def run(
    model, output, *arguments, python: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(model, output, *arguments, python=python),
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def model(make_celeba, tmp_path_factory) -> pathlib.Path:
    """Returns a model for 8-bit images, cropped to 40 px and resized to 8 px."""
    root = tmp_path_factory.mktemp("model")
    raw = make_celeba(10, has_labels=False).write(root / "raw")
    calls.prepare(SETTINGS, input_dir=raw, output=str(root / "dataset"))
    return exports.write(root / "export", root / "dataset")


@pytest.fixture
def raw(celeba, make_face, encode, tmp_path) -> str:
    """Returns 30 faces: one is cut off, one is missing and one is small."""
    celeba.images["000003.jpg"] = make_face(3)[:-200]
    del celeba.images["000005.jpg"]
    celeba.images["000011.jpg"] = make_face(11, width=30)
    return celeba.write(tmp_path / "raw")


def shard_bytes(dataset: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dataset.glob("*.tfrecord-*")}


SOURCE_FLAGS = ("--shard_size=8", "--seed=3", "--max_rejected_fraction=0.2")


def test_latents_are_those_of_the_dataset_that_there_would_be(model, raw, tmp_path):
    settings = Settings(**{**vars(SETTINGS), "shard_size": 8, "seed": 3})
    calls.prepare(
        settings,
        input_dir=raw,
        output=str(tmp_path / "dataset"),
        max_rejected_fraction=0.2,
    )
    done = run(model, tmp_path / "two", f"--dataset={tmp_path / 'dataset'}")
    assert done.returncode == 0, done.stderr
    done = run(model, tmp_path / "one", f"--input={raw}", *SOURCE_FLAGS)
    assert done.returncode == 0, done.stderr
    assert "rejected: 1 missing, 1 too_small, 1 truncated" in done.stderr
    shards = shard_bytes(tmp_path / "one")
    assert len(shards) == 6
    assert shards == shard_bytes(tmp_path / "two")
    one, two, images = (
        contract.load_manifest(tmp_path / name) for name in ("one", "two", "dataset")
    )
    assert done.stdout == f"dataset digest: {one.digest}\n"
    assert one.features == two.features
    assert one.settings == {
        **images.settings,
        "model": exports.DIGEST,
        "batch_size": latent_plan.BATCH_SIZE,
    }
    assert one.source_fingerprint == images.source_fingerprint
    names = [tmp_path / name / contract.REJECTED_NAME for name in ("one", "dataset")]
    lines, expected = (path.read_text() for path in names)
    assert lines == expected
    assert {json.loads(line)["key"] for line in lines.splitlines()} == {
        "000003.jpg",
        "000005.jpg",
        "000011.jpg",
    }
    assert faults(tmp_path / "one") == []
    left = {path.suffix for path in (tmp_path / "one" / files.PROGRESS_DIR).iterdir()}
    assert left == {"", ".json"}
    # A rerun keeps complete shards and makes the lost shard again.
    lost = tmp_path / "one" / min(shards)
    lost.unlink()
    again = run(model, tmp_path / "one", f"--input={raw}", *SOURCE_FLAGS)
    assert again.stdout == done.stdout
    assert kept_shards(again.stderr) == (5, 6)
    flags = (*SOURCE_FLAGS, "--direct_running_mode=multi_processing")
    processes = tmp_path / "processes"
    again = run(model, processes, f"--input={raw}", *flags, python=sys.executable)
    assert again.stdout == done.stdout, again.stderr


def test_a_killed_run_is_continued(model, make_celeba, tmp_path):
    raw = make_celeba(100).write(tmp_path / "raw")
    arguments = (f"--input={raw}", "--shard_size=1")
    process = subprocess.Popen(
        command(model, tmp_path / "out", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: num_finished(tmp_path / "out") >= 3)
    preloaded.send(process, signal.SIGKILL)
    process.wait(timeout=30)
    assert not (tmp_path / "out" / contract.MANIFEST_NAME).exists()
    num_left = num_finished(tmp_path / "out")
    done = run(model, tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    assert kept_shards(done.stderr) == (num_left, 100)
    assert 3 <= num_left < 100
    assert done.stdout == run(model, tmp_path / "fresh", *arguments).stdout
    assert faults(tmp_path / "out") == []


def test_a_folder_is_cut_into_splits(model, make_face, tmp_path):
    for number in range(20):
        path = tmp_path / "photos" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_face(number))
    fractions = "--split_fractions=0,0,1"
    photos = f"--input={tmp_path / 'photos'}"
    done = run(model, tmp_path / "out", "--source=folder", photos, fractions)
    assert done.returncode == 0, done.stderr
    manifest = contract.load_manifest(tmp_path / "out")
    assert {name: x.num_examples for name, x in manifest.splits.items()} == {"test": 20}
    assert manifest.features["label"].names == ("class0", "class1")
    assert manifest.settings["source"] == "folder"


def test_too_many_rejects_end_in_one_line(model, raw, tmp_path):
    done = run(model, tmp_path / "out", f"--input={raw}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: 3 of 30 images were rejected, a fraction of 0.1" in done.stderr
    assert "000005.jpg (missing: " in done.stderr
    assert not (tmp_path / "out" / contract.MANIFEST_NAME).exists()


def test_flags_go_together(model, tmp_path):
    given = f"--dataset={tmp_path}"
    done = run(model, tmp_path / "out", given, "--source=folder")
    assert done.stderr.splitlines()[-1] == (
        "error: --source is for raw images, but --dataset is given: leave one of the "
        "two flags out"
    )
    done = run(model, tmp_path / "out")
    assert done.stderr.endswith(
        "error: give --dataset, or give raw images as --input\n"
    )
    done = run(model, tmp_path / "out", "--input=x", "--image_size=8")
    assert "unknown flag --image_size" in done.stderr
    assert not (tmp_path / "out").exists()


def refused(images: Settings, model, input_dir, output, **more) -> str:
    with pytest.raises(contract.DatasetError) as raised:
        calls.encode_raw(
            images, model=str(model), input_dir=input_dir, output=str(output), **more
        )
    return str(raised.value)


def test_images_of_other_channels_are_refused(model, raw, tmp_path):
    copied = shutil.copytree(model, tmp_path / "copied")
    description = copied / export_description.DESCRIPTION
    body = json.loads(description.read_text())
    body["dataset"]["features"]["image"]["shape"] = [8, 8, 1]
    description.write_text(json.dumps(body))
    text = refused(SETTINGS, copied, raw, tmp_path / "out")
    assert f"the images of input={raw} differ from the training images of" in text
    assert "(3 channels, but 1 in training): give images with the settings " in text
    assert not (tmp_path / "out").exists()


@pytest.fixture
def model_naming(model, tmp_path, monkeypatch):
    """Returns a function that makes an export with a given function name in it.

    The module `planted` leaves a file when it is imported, and another when it is
    called.
    """
    planted = "import pathlib\npathlib.Path('imported').touch()\n"
    planted += "def run(image):\n    pathlib.Path('called').touch()\n    return image\n"
    (tmp_path / "planted.py").write_text(planted)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")

    def make(name: object) -> pathlib.Path:
        copied = shutil.copytree(model, tmp_path / "export", dirs_exist_ok=True)
        description = copied / export_description.DESCRIPTION
        body = json.loads(description.read_text())
        body["dataset"]["settings"]["preprocess"] = name
        description.write_text(json.dumps(body))
        return copied

    return make


def test_a_function_that_an_export_names_is_not_called(model_naming, raw, tmp_path):
    export = model_naming("planted:run")
    named = "assets.extra/export.json names the function 'planted:run', which this"
    done = run(export, tmp_path / "out", f"--input={raw}")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: --model={export}: {named} command would import and call on every "
        "image: to allow this, give --preprocess='planted:run'; otherwise give another "
        "--model"
    ]
    assert not list(tmp_path.glob("*ed"))
    flags = ("--preprocess=planted:run", "--max_rejected_fraction=0.2")
    done = run(export, tmp_path / "out", f"--input={raw}", *flags)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("*ed")) == ["called", "imported"]


# Another function, and values that name no function.
@pytest.mark.parametrize("name", ["builtins:exec", "a\nb", ["a", "b"], 3, ""])
def test_no_other_name_is_called(model_naming, raw, tmp_path, name):
    export = model_naming(name)
    text = refused(SETTINGS, export, raw, tmp_path / "out")
    assert f"names the function {name!r}, which this call would" in text
    assert "\n" not in text
    asked = dataclasses.replace(SETTINGS, preprocess="planted:run")
    assert refused(asked, export, raw, tmp_path / "out") == (
        f"preprocess=planted:run: assets.extra/export.json of model={export} names "
        f"the function {name!r} for its images: give that function, or give another "
        "`model`"
    )
    assert not list(tmp_path.glob("*ed"))


def test_a_function_that_the_training_did_not_have_is_refused(model, raw, tmp_path):
    asked = dataclasses.replace(SETTINGS, preprocess="numpy:flipud")
    text = refused(asked, model, raw, tmp_path / "out")
    assert "names no function for its images: leave the argument out, or" in text


def test_images_of_a_dataset_need_no_function(model_naming, make_celeba, tmp_path):
    raw = make_celeba(5, has_labels=False).write(tmp_path / "few")
    flags = ("--image_size=8", "--image_dtype=uint8", "--crop_size=40")
    done = run_command(raw, tmp_path / "dataset", *flags, "--preprocess=planted:run")
    assert done.returncode == 0, done.stderr
    for path in tmp_path.glob("*ed"):
        path.unlink()
    given = f"--dataset={tmp_path / 'dataset'}"
    encoded = run(model_naming("planted:run"), tmp_path / "out", given)
    assert encoded.returncode == 0, encoded.stderr
    assert not list(tmp_path.glob("*ed"))


def test_a_fraction_is_checked(model, raw, tmp_path):
    text = refused(SETTINGS, model, raw, tmp_path / "out", max_rejected_fraction=2)
    assert text == "max_rejected_fraction=2 must be from 0 to 1"


def test_latents_of_other_sources_are_not_mixed_in(model, raw, tmp_path):
    flags = (f"--input={raw}", "--max_rejected_fraction=0.2")
    assert run(model, tmp_path / "out", *flags).returncode == 0
    done = run(model, tmp_path / "out", *flags, "--seed=1")
    assert "other settings (--seed=0 before, 1 now): give another" in done.stderr
    done = run(model, tmp_path / "out", *flags, "--seed=1", "--overwrite")
    assert done.returncode == 0, done.stderr


def test_a_conditional_model_needs_its_condition(model, make_celeba, tmp_path):
    raw = make_celeba().write(tmp_path / "labelled")
    calls.prepare(SETTINGS, input_dir=raw, output=str(tmp_path / "dataset"))
    conditional = exports.write(tmp_path / "told", tmp_path / "dataset", "attributes")
    plain = make_celeba(has_labels=False).write(tmp_path / "plain")
    text = refused(SETTINGS, conditional, plain, tmp_path / "out")
    assert f"needs the feature 'attributes', but input={plain} lacks it" in text
    for name, images in (("one", "--input"), ("two", "--dataset")):
        value = raw if name == "one" else tmp_path / "dataset"
        done = run(conditional, tmp_path / name, f"{images}={value}")
        assert done.returncode == 0, done.stderr
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "two")


def test_rejects_of_a_fault_that_passed_are_made_up_for(model, celeba, tmp_path):
    raw = pathlib.Path(celeba.write(tmp_path / "raw"))
    arguments = (f"--input={raw}", *SOURCE_FLAGS)
    done = run(model, tmp_path / "fresh", *arguments)
    assert done.returncode == 0, done.stderr
    path = raw / "img_align_celeba.zip"
    sound = path.read_bytes()
    flip_a_bit_of(raw, 4)
    damaged = run(model, tmp_path / "out", *arguments)
    assert "rejected: 1 checksum" in damaged.stderr
    path.write_bytes(sound)
    # The rerun works on a complete dataset and on an unfinished dataset.
    shutil.copytree(tmp_path / "out", tmp_path / "part")
    (tmp_path / "part" / contract.MANIFEST_NAME).unlink()
    for name in ("out", "part"):
        again = run(model, tmp_path / name, *arguments)
        assert kept_shards(again.stderr) == (5, 6), again.stderr
        assert again.stdout == done.stdout
        assert shard_bytes(tmp_path / name) == shard_bytes(tmp_path / "fresh")
