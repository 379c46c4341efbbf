"""Latents as a dataset: their values, their bytes, and possible errors."""

import dataclasses
import json
import pathlib
import shutil
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from pipeline import contract, verify
from pipeline.dataset import output_directory, shards
from pipeline.formats import records
from pipeline.latents import (
    encoder,
    export_description,
    latent_images,
    latent_plan,
    latent_shards,
)
from pipeline.planning import dataset_settings
from pipeline.storage import files
from tests import preloaded
from tests.pipeline import calls, exports
from tests.pipeline.commands import kept_shards, num_finished, run_verify, wait_until
from tests.pipeline.test_verify import MUTATIONS, faults

SETTINGS = dataset_settings.Settings(image_size=8, shard_size=8)


def command(model, dataset, output, *arguments, python: str = "") -> list[str]:
    program = [python or preloaded.shared_python(), "-m", "pipeline.encode"]
    return [
        *program,
        f"--model={model}",
        f"--dataset={dataset}",
        f"--output={output}",
        *arguments,
    ]


def run(
    model, dataset, output, *arguments, python: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(model, dataset, output, *arguments, python=python),
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def images(make_celeba, tmp_path_factory) -> pathlib.Path:
    """Returns 30 faces at 8 px, with attributes and landmarks, in 6 shards."""
    root = tmp_path_factory.mktemp("images")
    raw = make_celeba().write(root / "raw")
    calls.prepare(SETTINGS, input_dir=raw, output=str(root / "dataset"))
    return root / "dataset"


@pytest.fixture(scope="module")
def model(images, tmp_path_factory) -> pathlib.Path:
    return exports.write(tmp_path_factory.mktemp("model") / "export", images)


@pytest.fixture(scope="module")
def latents(model, images, tmp_path_factory) -> pathlib.Path:
    output = tmp_path_factory.mktemp("latents") / "latents"
    # Run without a preloaded Python, as a user does: the imports must be quiet, too.
    done = run(model, images, output, python=sys.executable)
    assert done.returncode == 0, done.stderr
    digest = contract.load_manifest(output).digest
    assert done.stdout == f"dataset digest: {digest}\n"
    assert "Traceback" not in done.stderr
    assert "oneDNN" not in done.stderr
    return output


def test_a_model_that_writes_files_is_not_run(images, tmp_path):
    model = exports.write(tmp_path / "export", images, writes=tmp_path / "written")
    done = run(model, images, tmp_path / "out")
    assert done.returncode == 1
    (line,) = [text for text in done.stderr.splitlines() if "error: " in text]
    assert line == (
        f"error: --model={model} has operations with effects outside the model, which "
        "no export has (WriteFile): give a directory that trainer.export wrote"
    )
    assert not (tmp_path / "written").exists()


@pytest.fixture
def copied(latents, tmp_path) -> pathlib.Path:
    return shutil.copytree(latents, tmp_path / "copied")


def read_latents(dataset: pathlib.Path, split: str) -> list[dict[str, list]]:
    """Returns the features of every record, by name."""
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    manifest = contract.load_manifest(dataset)
    rows = []
    for shard in manifest.splits[split].shards:
        for framed in records.read_frames(dataset / shard.name):
            features = proto.Example.FromString(
                records.unframed(framed)
            ).features.feature
            row = {
                name: list(feature.bytes_list.value or feature.int64_list.value)
                for name, feature in features.items()
            }
            for name in contract.LATENTS:
                row[name] = np.frombuffer(row[name][0], "<f4")
            rows.append(row)
    return rows


def read_images(dataset: pathlib.Path, split: str) -> list[dict[str, list]]:
    """Returns the expected features of every record of the latents."""
    manifest = contract.load_manifest(dataset)
    rows = []
    for shard in manifest.splits[split].shards:
        frames = records.read_frames(dataset / shard.name)
        for key, image, labels in records.parse_examples(frames, "", manifest.features):
            posterior = exports.posteriors(image[np.newaxis].astype(np.float32))
            latents = dict(
                zip(contract.LATENTS, (x[0] for x in posterior), strict=True)
            )
            rows.append({"key": [key.encode()], **latents, **labels})
    return rows


def close(actual, expected) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("split", contract.SPLITS)
def test_records_hold_the_posteriors_of_their_images(images, latents, split):
    theirs, ours = (contract.load_manifest(path) for path in (images, latents))
    assert ours.settings == {
        "model": exports.DIGEST,
        "dataset": theirs.digest,
        "batch_size": latent_plan.BATCH_SIZE,
    }
    assert ours.splits.keys() == theirs.splits.keys()
    assert [
        (shard.name, shard.num_examples) for shard in ours.splits[split].shards
    ] == [(shard.name, shard.num_examples) for shard in theirs.splits[split].shards]
    actual, expected = read_latents(latents, split), read_images(images, split)
    for row, wanted in zip(actual, expected, strict=True):
        assert row.keys() == wanted.keys() == ours.features.keys()
        for name in contract.LATENTS:
            close(row.pop(name), wanted.pop(name))
        assert row == wanted


def test_tfds_loads_latents(latents):
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder_from_directory(latents)
    manifest = contract.load_manifest(latents)
    for split, info in manifest.splits.items():
        assert builder.info.splits[split].num_examples == info.num_examples
    feature = builder.info.features["posterior_mean"]
    assert feature.shape == (exports.LATENT_DIM,)
    assert feature.np_dtype == np.float32
    frames = records.read_frames(latents / manifest.splits["test"].shards[0].name)
    decoded = builder.info.features.deserialize_example_np(
        records.unframed(next(frames))
    )
    assert decoded["posterior_mean"].shape == (exports.LATENT_DIM,)
    assert np.isfinite(decoded["posterior_mean"]).all()


@pytest.mark.slow
def test_processes_write_the_same_bytes(model, images, latents, tmp_path):
    mode = "--direct_running_mode=multi_processing"
    flags = (mode, "--num_workers=2")
    done = run(model, images, tmp_path / "out", *flags, python=sys.executable)
    assert done.returncode == 0, done.stderr
    digest = contract.load_manifest(latents).digest
    assert done.stdout == f"dataset digest: {digest}\n"


def test_intact_shards_are_kept(model, images, copied):
    done = run(model, images, copied)
    assert "kept 6 of 6 shards: the dataset is already complete" in done.stderr
    digest = contract.load_manifest(copied).digest
    first, second, *_ = sorted(copied.glob("celeba-train*"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    done = run(model, images, copied)
    assert done.stdout == f"dataset digest: {digest}\n"
    assert kept_shards(done.stderr) == (4, 6)
    assert faults(copied) == []
    left = {path.suffix for path in (copied / files.PROGRESS_DIR).iterdir()}
    assert left == {"", ".json"}


@pytest.mark.slow
def test_a_killed_run_is_continued(make_celeba, tmp_path):
    raw = make_celeba(100).write(tmp_path / "raw")
    settings = dataset_settings.Settings(image_size=8, shard_size=1)
    dataset, output = tmp_path / "dataset", tmp_path / "out"
    calls.prepare(settings, input_dir=raw, output=str(dataset))
    model = exports.write(tmp_path / "model", dataset)
    process = subprocess.Popen(
        command(model, dataset, output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: num_finished(output) >= 3)
    preloaded.send(process, signal.SIGKILL)
    process.wait(timeout=30)
    assert not (output / contract.MANIFEST_NAME).exists()
    num_left = num_finished(output)
    done = run(model, dataset, output)
    assert done.returncode == 0, done.stderr
    assert kept_shards(done.stderr) == (num_left, 100)
    assert 3 <= num_left < 100
    fresh = run(model, dataset, tmp_path / "fresh")
    assert done.stdout == fresh.stdout
    assert verify.find_faults(str(output), contract.load_manifest(output)) == []


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_verify_says_what_happened_to_a_shard(copied, mutate):
    assert faults(copied) == []
    fault = mutate(copied)
    assert faults(copied) == [fault]
    assert run_verify(copied).stderr == f"error: {fault}\n"


def test_a_conditional_model_gets_the_attributes(images, tmp_path):
    model = exports.write(tmp_path / "model", images, "attributes")
    done = run(model, images, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    conditional, plain = (
        read_latents(tmp_path / "out", "test"),
        read_images(images, "test"),
    )
    for row, wanted in zip(conditional, plain, strict=True):
        close(row["posterior_mean"], wanted["posterior_mean"] + sum(row["attributes"]))
    assert any(sum(row["attributes"]) for row in conditional)


@pytest.mark.slow
def test_another_model_is_not_mixed_in(model, images, copied, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    change(other, model_digest="cd" * 32)
    done = run(other, images, copied)
    assert done.returncode == 1
    assert f"has a dataset with other settings (--model={'ab' * 32} " in done.stderr
    done = run(other, images, copied, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert contract.load_manifest(copied).settings["model"] == "cd" * 32


def change(model: pathlib.Path, **changes) -> None:
    path = model / export_description.DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(model, images, output) -> str:
    with pytest.raises(contract.DatasetError) as raised:
        calls.encode(model=str(model), dataset_dir=str(images), output=str(output))
    return str(raised.value)


def test_a_model_that_is_none_is_named(model, images, latents, tmp_path):
    output = tmp_path / "out"
    assert "holds no export (assets.extra/export.json is missing)" in refused(
        tmp_path, images, output
    )
    copied = shutil.copytree(model, tmp_path / "copied")
    (copied / export_description.DESCRIPTION).write_text('{"step": 3}')
    assert "damaged, or of an earlier release (KeyError" in refused(
        copied, images, output
    )
    (copied / export_description.DESCRIPTION).write_text("{")
    assert "damaged, or of an earlier release (JSON" in refused(copied, images, output)
    with pytest.raises(contract.DatasetError, match="is in a bucket: copy it"):
        export_description.read_export("gs://bucket/model")
    assert not output.exists()


def test_a_worker_without_tensorflow_is_an_error(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(contract.DatasetError, match="TENSORFLOW=1"):
        # Bypass the cache, which keeps models that another test loaded.
        encoder.load.__wrapped__(str(model), exports.DIGEST, None)


def test_images_that_were_made_otherwise_are_refused(model, images, tmp_path):
    copied = shutil.copytree(model, tmp_path / "copied")
    body = json.loads((copied / export_description.DESCRIPTION).read_text())["dataset"]
    settings = {**body["settings"], "image_size": 16, "resize": "area"}
    change(copied, dataset={**body, "settings": settings})
    text = refused(copied, images, tmp_path / "out")
    assert "(`image_size=8`, but 16 in training; `resize=bilinear`, but" in text
    features = {
        **body["features"],
        "label": {"dtype": "int64", "shape": [], "names": []},
    }
    change(
        copied,
        dataset={**body, "features": features},
        config={"latent_dim": 4, "condition": "label"},
    )
    text = refused(copied, images, tmp_path / "out")
    assert "needs the feature 'label', but dataset=" in text


def test_latents_have_no_images(model, images, latents, tmp_path):
    text = refused(model, latents, tmp_path / "out")
    digest = contract.load_manifest(images).digest
    assert (
        f"holds latents instead of images: give the `dataset` that the latents encode "
        f"(digest {digest})" in text
    )
    text = refused(model, images, images)
    assert (
        f"is the same as dataset={images}, or contains it: give another `output`"
        in text
    )
    assert verify.find_faults(str(images), contract.load_manifest(images)) == []


@pytest.fixture
def job(model, images, tmp_path) -> latent_shards.EncodeJob:
    """Returns a job whose output directory carries the mark of its run."""
    output = tmp_path / "out"
    (output / files.PROGRESS_DIR).mkdir(parents=True)
    settings = latent_plan.Settings(
        exports.DIGEST, contract.load_manifest(images).digest
    )
    latent_images.mark_run(str(output), "run")
    export = export_description.read_export(str(model))
    images_read = latent_images.DatasetImages(str(images), settings)
    return latent_shards.EncodeJob(export, images_read, str(output), "run")


def with_images(job: latent_shards.EncodeJob, **changes) -> latent_shards.EncodeJob:
    assert isinstance(job.images, latent_images.DatasetImages)
    return dataclasses.replace(job, images=dataclasses.replace(job.images, **changes))


def first_name(job: latent_shards.EncodeJob) -> str:
    assert isinstance(job.images, latent_images.DatasetImages)
    manifest = contract.load_manifest(job.images.dataset_dir)
    return manifest.splits["train"].shards[0].name


def test_a_run_that_has_ended_writes_nothing(job):
    with pytest.raises(contract.DatasetError, match="does not find this run in"):
        latent_shards.make_shard(dataclasses.replace(job, run_id="gone"), "x")


def test_a_worker_sees_the_same_dataset_and_model(job):
    other = latent_plan.Settings(exports.DIGEST, "ef" * 32)
    with pytest.raises(contract.DatasetError, match="is another dataset on a worker"):
        latent_shards.make_shard(with_images(job, settings=other), first_name(job))
    export = dataclasses.replace(job.export, digest="ef" * 32)
    with pytest.raises(contract.DatasetError, match="is another export on a worker"):
        latent_shards.make_shard(
            dataclasses.replace(job, export=export), first_name(job)
        )


def zeros(*_):
    return lambda images, _: (np.zeros([len(images), 4], np.float32),) * 2


def test_a_damaged_image_shard_is_named(job, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "load", zeros)
    name = first_name(job)
    copied = shutil.copytree(job.images.dataset_dir, tmp_path / "copied")
    job = with_images(job, dataset_dir=str(copied))
    path = copied / name
    frames = list(records.read_frames(path))
    path.write_bytes(b"".join(reversed(frames)))
    with pytest.raises(
        contract.DatasetError, match="has changed since it was written: python"
    ):
        latent_shards.make_shard(job, path.name)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(contract.DatasetError, match="record 3 is cut off"):
        latent_shards.make_shard(job, path.name)
    path.unlink()
    with pytest.raises(contract.DatasetError, match="cannot read shard .*No such file"):
        latent_shards.make_shard(job, path.name)
    left = [entry.name for entry in pathlib.Path(job.output).rglob("*")]
    assert sorted(left) == [files.PROGRESS_DIR, "run.tmp"]


def test_a_posterior_that_is_not_finite_is_refused(job, monkeypatch):
    def load(*_):
        return lambda images, _: (np.full([len(images), 4], np.nan, np.float32),) * 2

    monkeypatch.setattr(encoder, "load", load)
    with pytest.raises(contract.DatasetError, match="a posterior that is not finite"):
        latent_shards.make_shard(job, first_name(job))


def test_batches_begin_with_a_shard(job, monkeypatch):
    sizes = []

    def load(*_):
        return lambda images, conditions: (
            sizes.append(len(images)) or zeros()(images, conditions)
        )

    monkeypatch.setattr(encoder, "load", load)
    monkeypatch.setattr(latent_plan, "BATCH_SIZE", 3)
    name = first_name(job)
    result = latent_shards.make_shard(job, name)
    assert sizes == [3, 1]
    assert result.info.num_examples == 4
    assert result == shards.read_sidecar(shards.sidecar_path(job.output, name))


def test_8_bit_images_are_scaled():
    stored = np.array([0, 51, 255], np.uint8)
    image = latent_shards._to_image(stored)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, [-1, -0.6, 1], rtol=1e-6)


def content(directory: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != output_directory.LOCK_NAME
    }


def encode(images: pathlib.Path, kind: str, flags: dict[str, Any]) -> None:
    """Encodes raw images if `kind` says so, and a dataset otherwise."""
    if kind in ("raw", "input"):
        calls.encode_raw(SETTINGS, input_dir=str(images), **flags)
    else:
        calls.encode(dataset_dir=str(images), **flags)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("no model", "holds no export"),
        ("model without graph", r"is incomplete \(missing: saved_model.pb\)"),
        (
            "model without weights",
            r"is incomplete \(missing: variables/variables.index",
        ),
        ("model of other bytes", "cannot load model="),
        ("no dataset", "does not exist"),
        ("no shard", "is missing, but its manifest says"),
        ("cut shard", "has 9 bytes, but its manifest says"),
        ("no disk", "B free: free some space"),
        ("num_workers", "num_workers=0 must be at least 1"),
        ("raw", "no-input"),
        ("no server", "PrismRunner does not start the job"),
    ],
)
def test_nothing_is_discarded_before_all_is_checked(
    model, images, copied, tmp_path, monkeypatch, wrong, message
):
    before = content(copied)
    model = shutil.copytree(model, tmp_path / "export")
    images = shutil.copytree(images, tmp_path / "images")
    shard = next(images.glob("*.tfrecord-*"))
    flags: dict[str, Any] = {
        "num_workers": 0 if wrong == "num_workers" else 1,
        "overwrite": True,
    }
    if wrong == "no model":
        shutil.rmtree(model)
    elif wrong == "model without graph":
        (model / "saved_model.pb").unlink()
    elif wrong == "model without weights":
        (model / "variables/variables.index").unlink()
    elif wrong == "model of other bytes":
        (model / "saved_model.pb").write_bytes(b"\xff" * 99)
    elif wrong == "no dataset":
        shutil.rmtree(images)
    elif wrong == "no shard":
        shard.unlink()
    elif wrong == "cut shard":
        shard.write_bytes(b"x" * 9)
    elif wrong == "no server":
        flags["beam_args"] = ["--runner=PrismRunner", "--prism_location=/nonexistent"]
    elif wrong == "no disk":
        usage = type("Usage", (), {"free": -(10**9)})()
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    flags |= {"model": str(model), "output": str(copied)}
    with pytest.raises(contract.DatasetError, match=message):
        encode(tmp_path / "no-input" if wrong == "raw" else images, wrong, flags)
    assert content(copied) == before


@pytest.mark.parametrize("flag", ["dataset", "model", "input"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_or_holds_an_input_is_refused(
    model, images, tmp_path, flag, overwrite
):
    paths = {"model": model, "dataset": images, "input": tmp_path / "a/raw"}
    paths[flag] = tmp_path / "a/b/../in"
    (tmp_path / "a/in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a/in")
    (tmp_path / "a/b").mkdir()
    shared: dict[str, Any] = {"model": str(paths["model"]), "overwrite": overwrite}
    for output in (tmp_path / "a", tmp_path / "a/in", tmp_path / "link"):
        shared["output"] = f"{output}/"
        given = paths["input" if flag == "input" else "dataset"]
        with pytest.raises(
            contract.DatasetError, match=f"is the same as {flag}=.*/in, or "
        ):
            encode(given, flag, shared)


@pytest.mark.parametrize(
    ("labels", "are_all_known", "message"),
    [
        ([0, 2], True, None),
        ([-1, 2], False, None),
        ([0, 3], True, "label 3, but the model's classes are 0 to 2"),
        ([0, 3], False, "label 3, but the model's classes are 0 to 2"),
        ([-1, 2], True, "label -1, which is not a class"),
    ],
)
def test_labels_are_classes_of_the_model(labels, are_all_known, message):
    batch = [("key", np.zeros([1]), {"label": [label]}) for label in labels]
    features = {"label": contract.Feature("int64")}
    export = export_description.Export(
        "", "", 1, "label", {}, features, 3, are_all_known
    )
    if message is None:
        conditions = latent_shards._conditions(batch, features, export)
        assert conditions is not None
        assert conditions.tolist() == labels
    else:
        with pytest.raises(contract.DatasetError, match=message):
            latent_shards._conditions(batch, features, export)


@pytest.mark.parametrize(
    ("config", "num_classes", "are_all_known"),
    [
        ({"condition": "none", "num_classes": 10}, None, True),
        ({"condition": "label", "num_classes": 10}, 10, True),
        ({"condition": "label", "num_classes": 3, "labelled_fraction": 0.5}, 3, False),
        ({"condition": "label"}, None, True),
    ],
)
def test_an_export_says_its_classes(
    model, tmp_path, config, num_classes, are_all_known
):
    copy = shutil.copytree(model, tmp_path / "export")
    body = json.loads((copy / export_description.DESCRIPTION).read_text())
    body["config"] = {**body["config"], **config}
    (copy / export_description.DESCRIPTION).write_text(json.dumps(body))
    export = export_description.read_export(str(copy))
    assert (export.num_classes, export.are_all_known) == (num_classes, are_all_known)
