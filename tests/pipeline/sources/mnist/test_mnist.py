import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipeline import contract, sources, verify
from pipeline.formats import records
from pipeline.planning.dataset_settings import Settings
from pipeline.sources.mnist import arrays, mnist
from tests.pipeline import calls
from tests.pipeline.sources.mnist.mnist_files import (
    FORMS,
    Mnist,
    fails,
    list_mnist,
    write_npz,
)


def read_split(listing: sources.Listing, split: str) -> np.ndarray:
    reader = pickle.loads(pickle.dumps(listing.reader))
    table = listing.by_split()[split]
    reader.prefetch(table.keys, table.locations)
    return np.stack(
        [
            reader.read(key, location)
            for key, location in zip(table.keys, table.locations, strict=True)
        ]
    )


def run(root, output, **settings) -> contract.Manifest:
    values = {"source": "mnist", "image_size": 28, "shard_size": 8, **settings}
    return calls.prepare(Settings(**values), input_dir=str(root), output=str(output))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(digits, tmp_path, form):
    listing = list_mnist(digits.write(tmp_path, form), validation_images=0)
    assert listing.name == "mnist"
    assert listing.num_channels == 1
    assert listing.features == {"label": contract.Feature("int64")}
    assert list(listing.by_split()) == ["train", "test"]
    for split, images in listing.by_split().items():
        number = len(digits.labels[split])
        assert images.keys == [f"{split}-{place:05d}" for place in range(number)]
        assert images.features["label"].tolist() == digits.labels[split].tolist()
        pixels = read_split(listing, split)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels[..., 0], digits.pixels[split])


@pytest.mark.parametrize("form", FORMS)
def test_the_first_training_images_are_for_validation(digits, tmp_path, form):
    listing = list_mnist(digits.write(tmp_path, form), validation_images=4)
    assert listing.validation_images == 4
    for split, file, start, stop in (
        ("train", "train", 4, 25),
        ("validation", "train", 0, 4),
        ("test", "test", 0, 9),
    ):
        images = listing.by_split()[split]
        assert images.keys == [f"{file}-{place:05d}" for place in range(start, stop)]
        assert images.features["label"].tolist() == [
            place % 10 for place in range(start, stop)
        ]
        pixels = read_split(listing, split)[..., 0]
        np.testing.assert_array_equal(pixels, digits.pixels[file][start:stop])


def test_the_default_number_of_validation_images(digits, tmp_path, caplog):
    with caplog.at_level("INFO", logger="absl"):
        manifest = run(digits.write(tmp_path / "raw"), tmp_path / "out")
    assert (
        f"images in {tmp_path / 'raw'}: train 23, validation 2, test 9" in caplog.text
    )
    assert manifest.settings["validation_images"] == 2
    assert {name: split.num_examples for name, split in manifest.splits.items()} == {
        "train": 23,
        "validation": 2,
        "test": 9,
    }
    # The manifest holds the number, and not whether a flag gave it.
    given = run(tmp_path / "raw", tmp_path / "given", validation_images=2)
    assert given.digest == manifest.digest


def test_a_number_of_validation_images_that_is_not_allowed(digits, tmp_path):
    root = digits.write(tmp_path)
    assert len(list_mnist(root, validation_images=24).by_split()["train"]) == 1
    fails(
        root,
        f"validation_images=25 must be less than 25, the number of training images "
        f"in input={root}",
        validation_images=25,
    )


def test_every_form_makes_the_same_dataset(digits, tmp_path):
    manifests = [
        run(digits.write(tmp_path / form, form), tmp_path / f"{form}.out")
        for form in FORMS
    ]
    assert len({manifest.digest for manifest in manifests}) == 1
    assert verify.find_faults(str(tmp_path / "tfds.out"), manifests[-1]) == []


def test_the_file_itself_is_an_input(digits, tmp_path, monkeypatch):
    expected = list_mnist(digits.write(tmp_path)).fingerprint
    for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        assert list_mnist(tmp_path / name).fingerprint == expected
    monkeypatch.chdir(tmp_path)
    assert list_mnist("train-images-idx3-ubyte").fingerprint == expected
    # An npz may have any name.
    path = write_npz(tmp_path / "digits.npz", **digits.arrays())
    assert list_mnist(path).fingerprint == expected


def test_the_fingerprint_and_the_locations_see_every_value(digits, tmp_path):
    base = list_mnist(digits.write(tmp_path / "a"))
    digits.pixels["test"][3, 5, 7] ^= 1
    pixel = list_mnist(digits.write(tmp_path / "b"))
    digits.labels["train"][0] = 255
    label = list_mnist(digits.write(tmp_path / "c"))
    assert len({base.fingerprint, pixel.fingerprint, label.fingerprint}) == 3
    before, after = (listed.by_split()["test"].locations for listed in (base, pixel))
    assert (before != after).any(axis=1).tolist() == [at == 3 for at in range(9)]


def test_keys_stay_sorted_whatever_their_number(tmp_path):
    number = 100_001
    blank = arrays.LabelledImages(
        np.zeros((number, 28, 28, 1), np.uint8), np.zeros(number, np.int64)
    )
    keys = mnist._listed("train", blank).keys
    assert keys[-1] == "train-100000"
    assert list(keys) == sorted(keys)


def test_the_reader_is_small_and_loads_once(digits, tmp_path, monkeypatch):
    listing = list_mnist(digits.write(tmp_path))
    assert len(pickle.dumps(listing.reader)) < 1000
    loads = []
    load = mnist.load
    monkeypatch.setattr(mnist, "load", lambda path: loads.append(path) or load(path))
    read_split(listing, "train")
    read_split(listing, "test")
    assert loads == [str(tmp_path)]


def test_a_source_that_changes_or_disappears_is_an_error(digits, tmp_path):
    listing = list_mnist(digits.write(tmp_path))
    location = listing.by_split()["train"].locations[0]
    digits.pixels["train"][0] ^= 255
    digits.write(tmp_path)
    with pytest.raises(contract.DatasetError, match="changed while it was read"):
        listing.reader.read("train-00000", location)
    tmp_path.rename(tmp_path.with_name("gone"))
    with pytest.raises(contract.DatasetError, match="does not exist"):
        listing.reader.read("train-00000", location)


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files_raise_nothing_else(digits, tmp_path, form):
    rng = np.random.default_rng(0)
    root = digits.write(tmp_path, form)
    path = max(root.iterdir(), key=lambda path: path.stat().st_size)
    sound = path.read_bytes()
    ends = [*range(500), *range(len(sound) - 1200, len(sound))]
    errors = []
    for _ in range(100):
        data = bytearray(sound)
        for place in rng.choice(ends, 3):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, 2 * len(data))])
        try:
            list_mnist(root)
        except contract.DatasetError as error:
            errors.append(str(error))
    assert len(errors) > 20
    assert "\n" not in "".join(errors)


def test_no_input(digits, tmp_path):
    fails(tmp_path / "absent", "absent does not exist: give a directory with train-im")
    fails(tmp_path, "is empty: give .* mnist.npz, .* dataset_info.json")
    for number in range(7):
        (tmp_path / f"{number}.jpg").write_bytes(b"")
    fails(
        tmp_path,
        r"usable file of MNIST, only 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, \.\.\.: it "
        "holds raw images, such as 0.jpg, so give `source=folder`; or give a dir",
    )
    fails(tmp_path / "0.jpg", "0.jpg is empty: give another `input`")


@pytest.mark.parametrize("dtype", contract.IMAGE_DTYPES)
def test_tfds_reads_what_was_prepared(digits, tmp_path, dtype):
    tfds = pytest.importorskip("tensorflow_datasets")
    root = digits.write(tmp_path / "raw")
    manifest = run(root, tmp_path / "out", image_dtype=dtype)
    assert manifest.image_shape == (28, 28, 1)
    builder = tfds.builder_from_directory(tmp_path / "out")
    sizes = {"train": 23, "validation": 2, "test": 9}
    assert set(builder.info.splits) == set(sizes)
    scale, offset = contract.IMAGE_DTYPES[dtype]
    for split, size in sizes.items():
        examples = list(builder.as_dataset(split=split).as_numpy_iterator())
        assert len(examples) == size
        for example in examples:
            file, _, number = example["key"].decode().partition("-")
            place = int(number)
            assert example["label"].shape == ()
            assert example["label"].dtype == np.int64
            assert example["label"] == digits.labels[file][place]
            assert example["image"].dtype == dtype
            assert example["image"].shape == (28, 28, 1)
            np.testing.assert_allclose(
                example["image"][..., 0].astype(np.float64) * scale + offset,
                digits.pixels[file][place] / 127.5 - 1,
                atol=2.5e-4 if dtype == "float16" else 1e-7,
            )


def test_images_are_resized(digits, tmp_path):
    root = digits.write(tmp_path / "raw")
    manifest = run(root, tmp_path / "out", image_size=32, image_dtype="uint8")
    assert manifest.image_shape == (32, 32, 1)
    shard = tmp_path / "out" / manifest.splits["test"].shards[0].name
    proto = pytest.importorskip("tensorflow_datasets.proto").tf_example_pb2
    for framed in records.read_frames(shard):
        feature = proto.Example.FromString(records.unframed(framed)).features.feature
        place = int(feature["key"].bytes_list.value[0].removeprefix(b"test-"))
        image = Image.fromarray(digits.pixels["test"][place])
        expected = image.resize((32, 32), Image.Resampling.BILINEAR)
        assert feature["image"].bytes_list.value[0] == expected.tobytes()


# Another digest means other bytes for the same input, and needs a new schema version.
GOLDEN_DIGEST = "ef0fd317cd2c7c8b91621fde1d52ae3928bf77d0ff89dad2b639452a6c4b8226"


def test_the_digest_is_golden(tmp_path):
    pixels = np.arange(6 * 784).astype(np.uint8).reshape(6, 28, 28)
    labels = np.arange(6)
    golden = Mnist(
        {"train": pixels, "test": pixels[:2]}, {"train": labels, "test": labels[:2]}
    )
    root = golden.write(tmp_path / "raw")
    assert run(root, tmp_path / "out", validation_images=0).digest == GOLDEN_DIGEST
    # A twelfth of six images is none.
    assert run(root, tmp_path / "default").digest == GOLDEN_DIGEST


def prepare_command(root, output, *arguments) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "pipeline.prepare", "--source=mnist"]
    program += [f"--input={root}", f"--output={output}", *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=120)


def test_worker_processes_make_the_same_bytes(digits, tmp_path):
    root = digits.write(tmp_path / "raw", "gz")
    one = run(root, tmp_path / "one")
    done = prepare_command(
        root,
        tmp_path / "two",
        "--num_workers=2",
        "--shard_size=8",
        "--direct_running_mode=multi_processing",
    )
    assert done.returncode == 0, done.stderr
    # The source sets the image size of 28 pixels, because no flag does.
    assert done.stdout == f"dataset digest: {one.digest}\n"
    assert one.settings["image_size"] == 28
    for split in one.splits.values():
        for shard in split.shards:
            content = (tmp_path / "two" / shard.name).read_bytes()
            assert content == (tmp_path / "one" / shard.name).read_bytes()


def test_a_bad_input_ends_in_one_line(tmp_path):
    done = prepare_command(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: --input={tmp_path} is empty: give a directory")


def test_a_rerun_keeps_the_shards_and_refuses_another_source(digits, tmp_path, caplog):
    first = run(digits.write(tmp_path / "raw"), tmp_path / "out")
    (tmp_path / "out" / first.splits["train"].shards[1].name).unlink()
    with caplog.at_level("INFO", logger="absl"):
        assert run(tmp_path / "raw", tmp_path / "out") == first
    assert "kept 6 of 7 shards" in caplog.text
    digits.pixels["train"][0] ^= 255
    with pytest.raises(
        contract.DatasetError, match="fingerprint of the source .* before"
    ):
        run(digits.write(tmp_path / "raw"), tmp_path / "out")


@pytest.mark.slow
def test_the_digits_have_their_official_counts(real_mnist_dir, tmp_path):
    manifest = run(real_mnist_dir, tmp_path, image_dtype="uint8", shard_size=1024)
    counts = {name: split.num_examples for name, split in manifest.splits.items()}
    assert counts == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert all(split.rejected == {} for split in manifest.splits.values())
    listing = list_mnist(real_mnist_dir).by_split()
    labels = np.concatenate(
        [listing[split].features["label"] for split in ("validation", "train")]
    )
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(labels)[:2].tolist() == [5923, 6742]
