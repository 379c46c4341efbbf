"""An export gives the run's results from users' images, without the project's code."""

import base64
import contextlib
import dataclasses
import errno
import io
import json
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import mnist_m2
from pipeline import contract
from pipeline.images import squares
from pipeline.latents import encoder
from tests.trainer.trained_runs import Run, run_module
from trainer.data import corruption
from trainer.generation import sampling
from trainer.models.conditions import Conditioning
from trainer.models.vae import make_vae
from trainer.numerics import random
from trainer.numerics.streams import Stream
from trainer.runs import setting_checks, trained
from trainer.serving import exported_model, preprocessing, saved_model

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
JSON_BLOCKS = [
    json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
]
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RNG = np.random.default_rng(0)
NOTHING = np.zeros([1, 0], np.float32)


@pytest.fixture(scope="module")
def run(reference_run: Run) -> trained.TrainedRun:
    return trained.load(reference_run.workdir)


@pytest.fixture(scope="module")
def quick_run() -> trained.TrainedRun:
    """Returns a run that exports in a second, for tests of the files."""
    # A run of `--preprocess` data has no JPEG signatures.
    settings = {"preprocess": "mine:cut"}
    changes = {"condition": "none", "labelled_fraction": 1.0}
    return digits_run(settings, **changes, encoder_units=(8,), decoder_units=(8,))


@pytest.fixture(scope="module")
def export_dir(
    reference_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """Returns an export that is alone in a directory, with a space in its path."""
    output = tmp_path_factory.mktemp("some models") / "models/faces/1"
    flags = (f"--workdir={reference_run.workdir}", f"--output={output}")
    done = run_module("trainer.export", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"step 50 is exported to {output}\n"
    assert [path.name for path in output.parent.iterdir()] == ["1"]
    again = run_module("trainer.export", *flags)
    assert again.returncode == 1
    assert (
        "exists: give another directory, or --overwrite to replace it" in again.stderr
    )
    assert len(again.stderr.splitlines()) < 20
    return output


@contextlib.contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Makes writes beyond `num_bytes` of a file fail, as on a full disk."""
    limit, before = resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(limit, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(limit, before)


@pytest.mark.slow
@pytest.mark.parametrize("num_bytes", [4096, 500_000])
def test_a_disk_that_takes_no_more_leaves_the_old_export(
    run: trained.TrainedRun, export_dir: pathlib.Path, tmp_path, num_bytes: int
) -> None:
    output = tmp_path / "export"
    shutil.copytree(export_dir, output)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with largest_file(num_bytes), pytest.raises(OSError, match="File too") as raised:
        saved_model.save(run, output, overwrite=True)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(output))
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.fixture(scope="module")
def model(export_dir: pathlib.Path) -> Any:
    encoder._check_operations(str(export_dir))
    return tf.saved_model.load(str(export_dir))


@pytest.fixture(scope="module")
def signatures(model: Any) -> Any:
    return model.signatures


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_files_have_the_posteriors_of_their_records(
    signatures: Any, run: trained.TrainedRun, faces_dir: pathlib.Path
) -> None:
    batch = next(run.batches("train", 20))
    mean, log_var = run.vae.encode(batch["input"], batch["conditions"])
    with zipfile.ZipFile(faces_dir / "img_align_celeba.zip") as archive:
        by_key = {pathlib.Path(name).name: name for name in archive.namelist()}
        files = [archive.read(by_key[pathlib.Path(k).name]) for k in batch["key"]]
    pixels = np.stack([squares.decode(data) for data in files])
    for name, inputs in (
        ("encode_jpeg", {"image_bytes": tf.constant(files)}),
        ("serving_default", {"image_bytes": tf.constant(files)}),
        ("encode", {"pixels": tf.constant(pixels)}),
        ("encode_preprocessed", {"image": tf.constant(batch["image"])}),
    ):
        actual = signatures[name](**inputs)
        close(actual["posterior_mean"], mean)
        close(actual["posterior_log_var"], log_var)
    expected = run.vae.mean_image(mean, batch["conditions"])
    levels = preprocessing.to_levels(expected).numpy().astype(int)
    for name, inputs in (
        ("reconstruct_jpeg", {"image_bytes": tf.constant(files)}),
        ("reconstruct", {"pixels": tf.constant(pixels)}),
        ("reconstruct_preprocessed", {"image": tf.constant(batch["image"])}),
    ):
        actual = signatures[name](**inputs)
        close(actual["image"], expected)
        assert np.abs(actual["pixels"].numpy() - levels).max() <= 1


def test_files_of_several_sizes_are_one_batch(
    signatures: Any, run: trained.TrainedRun
) -> None:
    files = []
    for height, width in ((20, 30), (218, 178), (64, 64)):
        buffer = io.BytesIO()
        pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        files.append(buffer.getvalue())
    settings = run.manifest.settings
    names = ("image_size", "image_dtype", "resize", "crop_size")
    stored = [
        squares.preprocess(data, **{name: settings[name] for name in names})
        for data in files
    ]
    actual = signatures["encode_jpeg"](image_bytes=tf.constant(files))
    mean, _ = run.vae.encode(np.stack(stored).astype(np.float32), NOTHING)
    close(actual["posterior_mean"], mean)


def test_samples_are_those_of_generate(
    signatures: Any, run: trained.TrainedRun
) -> None:
    def sample(temperature: float, seed: int = 3) -> dict[str, tf.Tensor]:
        return signatures["sample"](
            num_samples=tf.constant(5),
            seed=tf.constant(seed),
            temperature=tf.constant(temperature),
        )

    z = sampling.draw_prior(run, 5, seed=3)
    created = sampling.decode(run, z, NOTHING, seed=0)
    drawn = sample(1.0)
    np.testing.assert_array_equal(drawn["z"], z)
    close(drawn["image"], created.mean)
    close(signatures["decode"](z=tf.constant(z))["image"], created.mean)
    np.testing.assert_allclose(sample(0.5)["z"], z / 2)
    assert np.abs(sample(1.0, seed=4)["z"] - z).max() > 0.1


def test_it_says_what_it_was_made_of(
    signatures: Any, export_dir: pathlib.Path, run: trained.TrainedRun
) -> None:
    described = json.loads(signatures["describe"]()["json"].numpy())
    assert described == json.loads((export_dir / saved_model.DESCRIPTION).read_text())
    assert described["step"] == 50
    assert described["config"] == json.loads(run.config.to_json())
    assert described["dataset"]["digest"] == run.manifest.digest
    assert described["dataset"]["settings"] == dict(run.manifest.settings)
    assert described["dataset"]["features"]["image"]["shape"] == [32, 32, 3]
    assert "shards" not in json.dumps(described["dataset"])


@pytest.mark.slow
def test_the_pages_python_runs_without_the_package(
    export_dir: pathlib.Path, faces_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    assert len(PYTHON_BLOCKS) == 2
    shutil.copytree(export_dir, tmp_path / "models/faces/1")
    with zipfile.ZipFile(faces_dir / "img_align_celeba.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".jpg"))
        (tmp_path / "face.jpg").write_bytes(archive.read(name))
    program = "\n".join(PYTHON_BLOCKS) + (
        "\nimport sys"
        "\nassert not {'trainer', 'pipeline', 'configs', 'vaeline'} & set(sys.modules)"
        "\nassert again.shape == (2, 32, 32, 3), again.shape"
        "\nfor num in (1, 3):"
        "\n    pixels = tf.zeros([num, 40, 50, 3], tf.uint8)"
        "\n    found = signatures['reconstruct'](pixels=pixels)['pixels']"
        "\n    assert found.shape == (num, 32, 32, 3), found.shape"
    )
    # Isolated mode keeps Python from searching the working directory and PYTHONPATH.
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^50 [0-9a-f]{64}$", done.stdout, re.MULTILINE)
    assert np.asarray(Image.open(tmp_path / "again.png")).shape == (32, 32, 3)


def serve(signatures: Any, request: dict[str, Any], jpeg: bytes) -> dict[str, Any]:
    """Returns the response to a predict request, as TensorFlow Serving documents it.

    Source:
        https://www.tensorflow.org/tfx/serving/api_rest: `instances` holds rows and
        `inputs` holds columns; an object with the single key `b64` holds bytes in
        base64; a single input or output has no name.
    """
    function = signatures[request.get("signature_name", "serving_default")]
    specs = function.structured_input_signature[1]

    def value(given: Any) -> Any:
        if isinstance(given, dict):
            assert list(given) == ["b64"]
            text = given["b64"].replace(
                "BASE64 OF A JPEG FILE", base64.b64encode(jpeg).decode()
            )
            return base64.b64decode(text, validate=True)
        return [value(item) for item in given] if isinstance(given, list) else given

    def by_name(given: Any) -> dict[str, Any]:
        if isinstance(given, dict) and given.keys() == specs.keys():
            return given
        (name,) = specs
        return {name: given}

    if "inputs" in request:
        columns = {k: value(v) for k, v in by_name(request["inputs"]).items()}
    else:
        rows = [by_name(row) for row in request["instances"]]
        columns = {name: [value(row[name]) for row in rows] for name in specs}
    outputs = function(
        **{name: tf.constant(columns[name], specs[name].dtype) for name in specs}
    )
    arrays = {name: tensor.numpy().tolist() for name, tensor in outputs.items()}
    if "inputs" in request:
        return {"outputs": arrays}
    num_rows = len(request["instances"])
    assert {len(array) for array in arrays.values()} == {num_rows}
    rows = [{n: array[row] for n, array in arrays.items()} for row in range(num_rows)]
    return {"predictions": rows}


def shapes(value: Any) -> Any:
    """Returns the structure of a JSON value: its names and shapes."""
    if isinstance(value, dict):
        return {name: shapes(item) for name, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shapes(item) for item in value]
    return np.shape(value)


def test_the_pages_requests_have_the_pages_responses(signatures: Any) -> None:
    requests = [block for block in JSON_BLOCKS if "predictions" not in block]
    (response,) = (block for block in JSON_BLOCKS if "predictions" in block)
    assert len(requests) == 5
    buffer = io.BytesIO()
    Image.new("RGB", (50, 60), "teal").save(buffer, "JPEG")
    served = [serve(signatures, request, buffer.getvalue()) for request in requests]
    assert shapes(served[0]) == shapes(response)
    assert shapes(served[1])["predictions"] == 2 * shapes(response)["predictions"]
    decoded = {"image": (32, 32, 3), "pixels": (32, 32, 3)}
    assert shapes(served[2]) == {"predictions": [decoded, decoded]}
    assert shapes(served[3])["outputs"]["z"] == (4, 8)
    assert shapes(served[4]) == shapes(response)
    json.dumps(served)


def test_an_export_is_replaced_whole_or_kept(
    quick_run: trained.TrainedRun,
    export_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "1"
    shutil.copytree(export_dir, output)
    stray = output / "variables/variables.data-00001-of-00002"
    stray.write_text("of the old one")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saved_model.pathlib.Path, "write_text", fail)
        with pytest.raises(OSError, match="No space left"):
            saved_model.save(quick_run, output, overwrite=True)
        with pytest.raises(OSError, match="No space left"):
            saved_model.save(quick_run, tmp_path / "2")
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert stray.exists()
    saved_model.save(quick_run, output, overwrite=True)
    assert not stray.exists()
    assert (output / "saved_model.pb").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_link_stays_and_leads_to_the_new_export(
    quick_run: trained.TrainedRun, export_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(export_dir, tmp_path / "old")
    (tmp_path / "old/old.keras").write_text("of the old one")
    (tmp_path / "1").symlink_to("old")
    saved_model.save(quick_run, tmp_path / "1", overwrite=True)
    assert (tmp_path / "1").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "old"]
    assert not (tmp_path / "1/old.keras").exists()


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "assets.extra/tf_serving_warmup_requests",
        "run/config.json",
        "variables/mine.txt",
        "assets/vocabulary.txt",
        ".git/HEAD",
    ],
)
def test_files_of_others_in_an_export_are_not_removed(
    quick_run: trained.TrainedRun,
    export_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    name: str,
) -> None:
    shutil.copytree(export_dir, tmp_path / "1")
    path = tmp_path / "1" / name
    (tmp_path / "1/.DS_Store").write_text("")
    saved_model.check_output(tmp_path / "1", overwrite=True)
    path.parent.mkdir(exist_ok=True)
    path.write_text("theirs")
    with pytest.raises(
        ValueError, match=f"has files .* remove .{re.escape(name.split('/')[0])}"
    ):
        saved_model.save(quick_run, tmp_path / "1", overwrite=True)
    assert path.read_text() == "theirs"


@pytest.mark.parametrize(
    ("label", "fraction", "is_taken"),
    [(0, 1.0, True), (2, 1.0, True), (3, 1.0, False), (-1, 1.0, False)]
    + [(2, 0.5, True), (3, 0.5, False), (-1, 0.5, True)],
)
def test_a_label_that_is_no_class_is_refused(label, fraction, is_taken) -> None:
    model = exported_model.ExportedModel.__new__(exported_model.ExportedModel)
    model._conditioning = Conditioning("label", 3, fraction)
    described = tf.function(
        lambda label: model._with_conditions(tf.zeros([1, 2]), {"label": label})[1],
        autograph=False,
    )
    if is_taken:
        expected = np.eye(3)[[label]] if label >= 0 else np.zeros([1, 3])
        np.testing.assert_array_equal(described(tf.constant([label])), expected)
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 2"):
            described(tf.constant([label]))


@pytest.mark.parametrize("name", [".1.tmp", ".1.old"])
def test_what_has_a_temporary_name_is_not_written_through(
    quick_run: trained.TrainedRun,
    export_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    name: str,
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("theirs")
    shutil.copytree(export_dir, tmp_path / "1")
    (tmp_path / name).symlink_to(theirs)
    saved_model.save(quick_run, tmp_path / "1", overwrite=True)
    assert [path.name for path in theirs.iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "theirs"]


def test_what_is_no_export_is_not_replaced(
    quick_run: trained.TrainedRun, tmp_path: pathlib.Path
) -> None:
    thesis = tmp_path / "mine/thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for output in (thesis.parent, thesis):
        with pytest.raises(
            ValueError, match=f"={output} exists and is not an export, so"
        ):
            saved_model.save(quick_run, output, overwrite=True)
    with pytest.raises(NotADirectoryError, match="Not a directory"):
        saved_model.save(quick_run, thesis / "1")
    assert thesis.read_text() == "years of work"
    assert len(list(tmp_path.rglob("*"))) == 2


def test_what_is_wrong_is_one_line(tmp_path: pathlib.Path) -> None:
    for output, message in (
        (
            f"{tmp_path}/1",
            f"--workdir={tmp_path} holds no run (config.json is missing)",
        ),
        ("gs://bucket/1", "--output=gs://bucket/1: this is a URL"),
    ):
        done = run_module(
            "trainer.export", f"--workdir={tmp_path}", f"--output={output}"
        )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
        assert not done.stdout
    assert not list(tmp_path.iterdir())


FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("float16", (28, 28, 1)),
    "label": contract.Feature("int64"),
    "attributes": contract.Feature("int64", (2,), ("Smiling", "Young")),
}


def digits_run(settings: dict[str, Any] | None = None, **changes) -> trained.TrainedRun:
    """Returns a run of a conditional model of grey images, at step 0."""
    config = mnist_m2.get_config()
    config.update(changes)
    created = {
        "crop_size": 0,
        "resize": "bicubic",
        "image_size": 28,
        **(settings or {}),
    }
    manifest = contract.Manifest("d", created, "ab", FEATURES, {})
    num = {"label": config.num_classes, "attributes": 2, "none": 0}[config.condition]
    vae = make_vae(config, (28, 28, 1), num)
    return trained.TrainedRun(config, manifest, "", vae, 0)


def saved_signatures(run: trained.TrainedRun, output: pathlib.Path) -> tuple[Any, Any]:
    saved_model.save(run, output)
    # `pipeline.encode` must accept all operations of the model.
    encoder._check_operations(str(output))
    loaded = tf.saved_model.load(str(output))
    return loaded, loaded.signatures


@pytest.mark.slow
def test_a_model_of_few_labels_is_told_them_and_classifies(
    tmp_path: pathlib.Path,
) -> None:
    run = digits_run()
    model, signatures = saved_signatures(run, tmp_path / "1")
    image = RNG.uniform(-1, 1, (3, 28, 28, 1)).astype(np.float32)
    label = np.array([2, 0, 9])
    conditions = np.eye(10, dtype=np.float32)[label]
    actual = signatures["encode_preprocessed"](
        image=tf.constant(image), label=tf.constant(label)
    )
    uniform = tf.random.stateless_uniform(
        (28, 28, 1),
        random.fold(run.config.seed, Stream.EXPORT_BINARIZATION),
        alg="philox",
    )
    seen = corruption.binarize(image, run.config.binarize, uniform)
    mean, _ = run.vae.encode(seen, conditions)
    close(actual["posterior_mean"], mean)
    probability = signatures["classify_preprocessed"](image=tf.constant(image))
    close(probability["probability"], tf.nn.softmax(run.vae.classify(seen)))
    # Five samples take the two classes in turn.
    drawn = signatures["sample"](
        num_samples=tf.constant(5),
        seed=tf.constant(0),
        temperature=tf.constant(1.0),
        label=tf.constant([4, 7], tf.int64),
    )
    conditions = np.eye(10, dtype=np.float32)[[4, 7, 4, 7, 4]]
    close(drawn["image"], run.vae.mean_image(drawn["z"], conditions))
    # Encoding needs a label for each image.
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["encode_preprocessed"](
            image=tf.constant(image), label=tf.constant(label[:2])
        )
    names = {path.name for path in (tmp_path / "1").glob("*.keras")}
    assert names == {"encoder.keras", "decoder.keras", "classifier.keras"}
    buffer = io.BytesIO()
    grey = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
    Image.fromarray(grey).save(buffer, "JPEG")
    decoded = np.asarray(Image.open(buffer))[..., None]
    by_form = [
        signatures["encode_jpeg"](
            image_bytes=tf.constant([buffer.getvalue()]), label=tf.constant(label[:1])
        ),
        signatures["encode"](
            pixels=tf.constant(decoded[None]), label=tf.constant(label[:1])
        ),
    ]
    close(by_form[0]["posterior_mean"], by_form[1]["posterior_mean"])


@pytest.mark.parametrize("binarize", setting_checks.CHOICES["binarize"])
def test_posteriors_do_not_depend_on_the_batch(
    binarize: str, tmp_path: pathlib.Path
) -> None:
    # Skip the JPEG signatures, which take as long to trace as all others together.
    settings = {"preprocess": "mine:cut"}
    changes = {"condition": "attributes", "labelled_fraction": 1.0}
    run = digits_run(settings, binarize=binarize, **changes)
    model, signatures = saved_signatures(run, tmp_path / "1")
    pixels = RNG.integers(0, 256, (4, 30, 33, 1), dtype=np.uint8)
    attributes = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])

    def encode(rows: slice) -> np.ndarray:
        return signatures["encode"](
            pixels=tf.constant(pixels[rows]), attributes=tf.constant(attributes[rows])
        )["posterior_mean"].numpy()

    together = encode(slice(None))
    assert together.std(axis=0).max() > 1e-3
    for row in range(4):
        close(encode(slice(row, row + 1)), together[row : row + 1])


def test_a_function_of_the_users_leaves_no_signature_that_skips_it(
    tmp_path: pathlib.Path,
) -> None:
    run = digits_run(
        {"preprocess": "mine:cut"}, condition="none", labelled_fraction=1.0
    )
    model, signatures = saved_signatures(run, tmp_path / "1")
    assert not [name for name in signatures if "jpeg" in name]
    specs = signatures["serving_default"].structured_input_signature[1]
    assert list(specs) == ["pixels"]


def test_a_dataset_that_does_not_say_how_it_was_made_is_refused() -> None:
    run = digits_run()
    manifest = dataclasses.replace(run.manifest, settings={"resize": "area"})
    with pytest.raises(ValueError, match="lacks the setting 'crop_size'"):
        exported_model.ExportedModel(dataclasses.replace(run, manifest=manifest))
