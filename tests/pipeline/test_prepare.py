import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from benchmarks import results
from pipeline import contract, sources, verify
from pipeline.dataset import output_directory, output_files, shards, stats
from pipeline.images import squares
from pipeline.jobs import progress, runners
from pipeline.planning import plan
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import files
from tests.pipeline import calls
from tests.pipeline.commands import (
    command,
    kept_shards,
    num_finished,
    processes,
    run_command,
    wait_until,
)

SMALL = Settings(image_size=8, shard_size=4)
WORKER_PROCESSES = ("--direct_running_mode=multi_processing",)


def run(input_dir, output, settings=SMALL, **changes) -> contract.Manifest:
    return calls.prepare(settings, input_dir=input_dir, output=str(output), **changes)


# Another digest means other bytes for the same input, and needs a new schema version.
# The images are bitmaps, so no decoder's version changes the digest.
GOLDEN_DIGEST = "485873cff5b6bdd9e96a01ca38fbd70380ce6e2f63732f2d625680d2cbda5a8c"


def test_the_digest_is_golden(encode, tmp_path):
    root = tmp_path / "raw"
    (root / "img_align_celeba").mkdir(parents=True)
    partition = ""
    for number in range(6):
        pixels = np.arange(10 * 8 * 3).reshape(10, 8, 3).astype(np.uint8) * number
        # The file of an uncompressed format does not depend on a library's version.
        path = root / "img_align_celeba" / f"{number}.bmp"
        path.write_bytes(encode(pixels, "BMP"))
        partition += f"{path.name} {number % 3}\n"
    (root / "list_eval_partition.txt").write_text(partition)
    manifest = run(str(root), tmp_path / "out", Settings(image_size=4))
    assert manifest.digest == GOLDEN_DIGEST


@pytest.mark.slow
def test_worker_processes_make_the_same_bytes(input_dir, tmp_path):
    one = run(input_dir, tmp_path / "one")
    done = run_command(
        input_dir,
        tmp_path / "two",
        "--num_workers=2",
        "--image_size=8",
        "--shard_size=4",
        *WORKER_PROCESSES,
        python=sys.executable,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"dataset digest: {one.digest}\n"
    assert "Traceback" not in done.stderr
    assert "INFO:" not in done.stderr
    assert "apitools" not in done.stderr
    for shard in one.splits["train"].shards:
        content = (tmp_path / "two" / shard.name).read_bytes()
        assert content == (tmp_path / "one" / shard.name).read_bytes()


def test_a_folder_makes_the_zips_digest(celeba, input_dir, tmp_path):
    folder = celeba.write(tmp_path / "folder", as_folder=True)
    stored = run(input_dir, tmp_path / "a")
    assert run(folder, tmp_path / "b").digest == stored.digest


def run_as_by_default(source: str, root: str, output, **settings) -> contract.Manifest:
    size = sources.find(source).image_size
    return run(root, output, Settings(source=source, image_size=size, **settings))


@pytest.fixture(scope="module")
def photographs(real_celeba_dir, tmp_path_factory) -> contract.Manifest:
    output = tmp_path_factory.mktemp("photographs") / "out"
    return run_as_by_default("celeba", real_celeba_dir, output)


@pytest.fixture(scope="module")
def real_digits(real_mnist_dir, tmp_path_factory) -> contract.Manifest:
    output = tmp_path_factory.mktemp("digits") / "out"
    return run_as_by_default("mnist", real_mnist_dir, output)


@pytest.fixture(scope="module")
def undivided_digits(real_mnist_dir, tmp_path_factory) -> contract.Manifest:
    output = tmp_path_factory.mktemp("undivided") / "out"
    return run_as_by_default("mnist", real_mnist_dir, output, validation_images=0)


# Digests of all photographs and of MNIST at the default flags, and of MNIST as it was
# before it had a validation split. Users who have such a dataset, and checkpoints
# trained on it, must get the same dataset again.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "digest"),
    [
        (
            "photographs",
            "952fdf66e69f9edabddc0d31ae7681dd3ecdc746356aea274c1f2324fb62d00a",
        ),
        (
            "real_digits",
            "400c410a099508e764db612f9af24b348818382500b316ba6a21ca1958f6259a",
        ),
        (
            "undivided_digits",
            "c945f013f4baee6c0f5bfc996debc4776cea116e856c37e171c6727d0cd341d6",
        ),
    ],
)
def test_the_digests_of_real_data_stay(request, name, digest):
    assert request.getfixturevalue(name).digest == digest


def test_a_folder_is_prepared_by_the_command(make_face, tmp_path):
    for number in range(9):
        path = tmp_path / "my photos" / "a b" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_face(number))
    arguments = ("--source=folder", "--deduplicate", "--image_size=8")
    done = run_command(
        f"{tmp_path}/my photos/**/*.jpg",
        tmp_path / "out",
        *arguments,
        "--split_fractions=1,0,0",
        "--split_folders=none",
    )
    assert done.returncode == 0, done.stderr
    manifest = contract.load_manifest(tmp_path / "out")
    assert manifest.splits["train"].num_examples == 9
    assert manifest.settings["split_fractions"] == [1.0, 0.0, 0.0]
    assert manifest.settings["split_folders"] == ["none"]
    assert manifest.settings["deduplicate"] is True
    for fractions, line in (
        ("1", "must be fractions for train, validation, test, each from 0 to 1 and w"),
        ("a,b,c", "must be fractions for train, validation, test, each from 0 to 1 a"),
    ):
        arguments = ("--source=folder", f"--split_fractions={fractions}")
        done = run_command(tmp_path, tmp_path / "no", *arguments)
        assert done.returncode == 1
        assert f"error: --split_fractions={fractions} {line}" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_job_that_is_tried_again_after_its_end_succeeds(
    input_dir, tmp_path, monkeypatch
):
    run_graph = runners.run_graph

    def run_twice(*arguments, **changes):
        run_graph(*arguments, **changes)
        run_graph(*arguments, **changes)

    first = run(input_dir, tmp_path / "a")
    monkeypatch.setattr(runners, "run_graph", run_twice)
    assert run(input_dir, tmp_path / "b").digest == first.digest
    left = {path.suffix for path in (tmp_path / "b" / files.PROGRESS_DIR).iterdir()}
    assert left == {"", ".json"}


def test_a_job_of_an_earlier_run_changes_nothing(input_dir, tmp_path, monkeypatch):
    out = tmp_path / "out"
    jobs = []
    with monkeypatch.context() as patch:
        patch.setattr(runners, "run_graph", lambda *job, **_: jobs.append(job))
        for overwrite in (False, True):
            with pytest.raises(contract.DatasetError, match="manifest"):
                run(input_dir, out, overwrite=overwrite)
    other = dataclasses.replace(SMALL, image_size=4, shard_size=2)
    second = run(input_dir, out, other, overwrite=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for job in jobs:
        with pytest.raises(contract.DatasetError, match="no later run may work in it"):
            runners.run_graph(*job, num_workers=1, num_images=1)
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert after == before
    assert verify.find_faults(str(out), second) == []


def test_settings_decide_the_digest(input_dir, tmp_path):
    digests = {run(input_dir, tmp_path / "base").digest}
    for changes in ({"seed": 1}, {"image_dtype": "uint8"}, {"resize": "area"}):
        settings = dataclasses.replace(SMALL, **changes)
        digests.add(run(input_dir, tmp_path / str(changes), settings).digest)
    assert len(digests) == 4


@pytest.mark.parametrize("dtype", contract.IMAGE_DTYPES)
def test_tfds_reads_what_was_prepared(celeba, input_dir, tmp_path, dtype):
    tfds = pytest.importorskip("tensorflow_datasets")
    settings = dataclasses.replace(SMALL, image_dtype=dtype)
    manifest = run(input_dir, tmp_path / "out", settings)
    builder = tfds.builder_from_directory(tmp_path / "out")
    keys = set()
    for split in contract.SPLITS:
        examples = list(builder.as_dataset(split=split).as_numpy_iterator())
        assert len(examples) == manifest.splits[split].num_examples
        for example in examples:
            key = example["key"].decode()
            keys.add(key)
            assert celeba.split_of[key] == split
            expected = squares.preprocess(
                celeba.images[key],
                image_size=8,
                image_dtype=dtype,
                resize="bilinear",
                crop_size=0,
            )
            assert example["image"].dtype == dtype
            np.testing.assert_array_equal(example["image"], expected)
            attributes = [int(value > 0) for value in celeba.attributes[key]]
            assert example["attributes"].tolist() == attributes
            assert example["landmarks"].tolist() == celeba.landmarks[key]
    assert keys == set(celeba.images)


def test_a_complete_dataset_is_left_alone(input_dir, tmp_path, caplog):
    output = tmp_path / "out"
    first = run(input_dir, output)
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    with caplog.at_level("INFO", logger="absl"):
        assert run(input_dir, output) == first
    number = sum(len(split.shards) for split in first.splits.values())
    assert kept_shards(caplog.text) == (number, number)
    after = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert {k: v for k, v in after.items() if k.is_file()} == {
        k: v for k, v in before.items() if k.is_file()
    }


@pytest.mark.parametrize(
    "damage", ["bytes", "shard", "manifest", "manifest text", "features", "sidecars"]
)
def test_a_damaged_dataset_is_restored(input_dir, tmp_path, caplog, damage):
    output = tmp_path / "out"
    first = run(input_dir, output)
    shard = output / first.splits["train"].shards[0].name
    lost = {"bytes": 1, "shard": 1}.get(damage, 0)
    if damage == "bytes":
        content = shard.read_bytes()
        shard.write_bytes(content[:50] + b"!" + content[51:])
    elif damage == "shard":
        shard.unlink()
    elif damage == "manifest":
        (output / contract.MANIFEST_NAME).unlink()
    elif damage == "manifest text":
        (output / contract.MANIFEST_NAME).write_text("{")
    elif damage == "features":
        (output / "features.json").unlink()
    else:
        for path in (output / files.PROGRESS_DIR).iterdir():
            path.unlink()
        lost = 12
    with caplog.at_level("INFO", logger="absl"):
        assert run(input_dir, output).digest == first.digest
    num_kept, number = kept_shards(caplog.text)
    assert num_kept == max(number - lost, 0)
    assert verify.find_faults(str(output), contract.load_manifest(output)) == []


def test_an_image_that_changed_in_place_is_detected(
    celeba, tmp_path, make_face, caplog
):
    output = tmp_path / "out"
    celeba.images["000001.jpg"] = celeba.images["000001.jpg"].ljust(9000, b"\0")
    first = run(celeba.write(tmp_path / "a"), output)
    celeba.images["000001.jpg"] = make_face(99).ljust(9000, b"\0")
    with caplog.at_level("INFO", logger="absl"):
        second = run(celeba.write(tmp_path / "b"), output)
    # The new file has the same name and size. Only its shard is written again.
    num_kept, number = kept_shards(caplog.text)
    assert num_kept == number - 1
    assert second.source_fingerprint == first.source_fingerprint
    assert second.digest != first.digest


def test_other_settings_are_refused_by_name(input_dir, tmp_path):
    run(input_dir, tmp_path / "out")
    other = Settings(image_size=16, shard_size=4, resize="area")
    with pytest.raises(
        contract.DatasetError,
        match=r"image_size=8 before, 16 now; resize=bilinear before, area now.*"
        r"another `output`, or `overwrite=True`",
    ):
        run(input_dir, tmp_path / "out", other)
    # The manifest alone gives the same error.
    for path in (tmp_path / "out" / files.PROGRESS_DIR).iterdir():
        path.unlink()
    with pytest.raises(contract.DatasetError, match="image_size=8 before, 16 now"):
        run(input_dir, tmp_path / "out", other)


def test_another_source_is_refused(celeba, input_dir, tmp_path):
    run(input_dir, tmp_path / "out")
    celeba.images["000001.jpg"] += b"\0"
    with pytest.raises(
        contract.DatasetError, match="fingerprint of the source .* before"
    ):
        run(celeba.write(tmp_path / "other"), tmp_path / "out")


def test_overwrite_discards_what_is_there(input_dir, tmp_path):
    run(input_dir, tmp_path / "out")
    other = Settings(image_size=16, shard_size=8)
    fresh = run(input_dir, tmp_path / "fresh", other)
    again = run(input_dir, tmp_path / "out", other, overwrite=True)
    assert again.digest == fresh.digest
    for name in (".", files.PROGRESS_DIR):
        names = {path.name for path in (tmp_path / "out" / name).iterdir()}
        assert names == {path.name for path in (tmp_path / "fresh" / name).iterdir()}


def test_a_damaged_settings_file_is_refused(input_dir, tmp_path):
    run(input_dir, tmp_path / "out")
    path = tmp_path / "out" / files.PROGRESS_DIR / output_files.SETTINGS_NAME
    path.write_text("[]")
    with pytest.raises(contract.DatasetError, match="is damaged .*`overwrite=True`"):
        run(input_dir, tmp_path / "out")
    run(input_dir, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("should_overwrite", [False, True])
def test_a_directory_of_others_is_never_touched(input_dir, tmp_path, should_overwrite):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("")
    with pytest.raises(
        contract.DatasetError, match="has files that do not belong to a dataset"
    ):
        run(input_dir, tmp_path / "out", overwrite=should_overwrite)
    assert os.listdir(tmp_path / "out") == ["thesis.txt"]


def test_outputs_that_cannot_be(input_dir, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(contract.DatasetError, match="is a file: give a directory"):
        run(input_dir, tmp_path / "file")
    with pytest.raises(contract.DatasetError, match="^cannot make output="):
        run(input_dir, tmp_path / "file" / "below")
    with pytest.raises(contract.DatasetError, match="ftp://host/out .* begins with no"):
        run(input_dir, "ftp://host/out")
    with pytest.raises(contract.DatasetError, match="ftp://host/in .* begins with no"):
        run("ftp://host/in", tmp_path / "out")


def test_two_runs_cannot_share_an_output(input_dir, tmp_path):
    output = str(tmp_path / "out")
    listing = sources.list_images("celeba", input_dir)
    with (
        output_directory.locked(
            output, SMALL, listing.fingerprint, run_id="one", overwrite=False
        ),
        pytest.raises(contract.DatasetError, match="another run is at"),
    ):
        run(input_dir, output)
    run(input_dir, output)


def test_a_disk_that_is_too_small_is_detected_before(input_dir, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(
        contract.DatasetError,
        match="needs 26.9 kB, but its disk has 1 kB free: free some space",
    ):
        run(input_dir, tmp_path / "out")


def test_the_disk_holds_the_bytes_of_every_channel(input_dir, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 30 * (8 * 8 * 2 + 512)})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    listing = sources.list_images("celeba", input_dir)
    planned = [each.shard for each in plan.shard_plans(listing, SMALL)]
    grey = contract.Feature("float16", (8, 8, 1))
    progress.check_disk(str(tmp_path), planned, {"image": grey})
    colour = contract.Feature("float16", (8, 8, 3))
    with pytest.raises(contract.DatasetError, match=" 26.9 kB, .* 19.2 kB free: free"):
        progress.check_disk(str(tmp_path), planned, {"image": colour})


def test_a_disk_that_fills_says_what_to_do(input_dir, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "write_records", fail)
    with pytest.raises(contract.DatasetError, match="^no space left in .* shards$"):
        run(input_dir, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"num_workers": 0}, "^num_workers=0 must be at least 1"),
        ({"max_rejected_fraction": 1.5}, "^max_rejected_fraction=1.5 must be from 0"),
    ],
)
def test_flags_are_checked(input_dir, tmp_path, changes, match):
    with pytest.raises(contract.DatasetError, match=match):
        run(input_dir, tmp_path / "out", **changes)


def spoil(celeba, encode, make_face):
    """Spoils five training images in five ways, and returns the expected reasons."""
    train = [key for key, split in celeba.split_of.items() if split == "train"]
    del celeba.images[train[0]]
    celeba.images[train[1]] = b"no image"
    celeba.images[train[2]] = celeba.images[train[2]][:-200]
    celeba.images[train[3]] = encode(np.zeros((20, 20, 3), np.uint8), "JPEG", "L")
    celeba.images[train[4]] = make_face(0, 9, 9)
    reasons = ("missing", "unreadable", "truncated", "mode", "too_small")
    return dict(zip(train, reasons, strict=False))


def test_rejects_are_counted_and_named(celeba, encode, make_face, tmp_path):
    reasons = spoil(celeba, encode, make_face)
    settings = dataclasses.replace(SMALL, crop_size=10)
    directory = celeba.write(tmp_path / "raw")
    manifest = run(directory, tmp_path / "out", settings, max_rejected_fraction=0.2)
    text = (tmp_path / "out" / contract.REJECTED_NAME).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["key"]: line["reason"] for line in lines} == reasons
    assert manifest.splits["train"].num_examples == 18 - 5
    assert manifest.splits["train"].rejected == dict.fromkeys(
        sorted(reasons.values()), 1
    )
    assert manifest.splits["test"].rejected == {}
    # A stricter limit refuses a complete dataset, too.
    with pytest.raises(contract.DatasetError, match="5 of 30 images were rejected"):
        run(directory, tmp_path / "out", settings, max_rejected_fraction=0.1)
    assert (tmp_path / "out" / contract.MANIFEST_NAME).exists()


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_too_many_rejects_end_in_one_line(celeba, encode, make_face, tmp_path, mode):
    reasons = spoil(celeba, encode, make_face)
    done = run_command(
        celeba.write(tmp_path / "raw"),
        tmp_path / "out",
        f"--direct_running_mode={mode}",
        "--image_size=8",
        "--shard_size=16",
        "--crop_size=10",
        "--num_workers=1",
        python=sys.executable,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if " I " not in line[:11]]
    assert line.startswith("error: 5 of 30 images were rejected, a fraction of 0.1667")
    assert line.endswith("; to accept these: --max_rejected_fraction=0.2")
    assert all(key in line for key in reasons)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / contract.MANIFEST_NAME).exists()
    text = (tmp_path / "out" / contract.REJECTED_NAME).read_text()
    assert {json.loads(line)["key"] for line in text.splitlines()} == set(reasons)


def test_a_bad_input_ends_in_one_line(tmp_path):
    done = run_command(tmp_path / "absent", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: --input={tmp_path}/absent does not exist: give the directory that has "
        "img_align_celeba.zip and list_eval_partition.txt\n"
    )


def test_another_error_shows_its_traceback(input_dir, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(shards, "write_records", fail)
    with pytest.raises(ZeroDivisionError, match="ours"):
        run(input_dir, tmp_path / "out")


@pytest.fixture(scope="module")
def many_faces(make_celeba, tmp_path_factory) -> str:
    """Returns a thousand small faces, so a run is long enough to interrupt."""
    return make_celeba(1000).write(tmp_path_factory.mktemp("many"))


FLOAT32 = Settings(image_size=96, shard_size=16, image_dtype="float32")


@pytest.fixture(scope="module")
def many_digest(many_faces, tmp_path_factory) -> str:
    """Returns the digest of the many faces in float32, made by an undisturbed run."""
    return run(many_faces, tmp_path_factory.mktemp("fresh") / "out", FLOAT32).digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "signal_number"),
    [
        ("in_memory", signal.SIGKILL),
        ("multi_processing", signal.SIGKILL),
        ("multi_processing", signal.SIGINT),
        ("multi_processing", signal.SIGTERM),
    ],
)
def test_a_killed_run_is_continued(
    many_faces, many_digest, tmp_path, mode, signal_number
):
    arguments = ("--shard_size=16", "--num_workers=2", "--image_size=96")
    arguments += (f"--direct_running_mode={mode}", "--image_dtype=float32")
    progress_dir = tmp_path / "out" / files.PROGRESS_DIR
    process = subprocess.Popen(
        command(many_faces, tmp_path / "out", *arguments),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: num_finished(tmp_path / "out") >= 3)
    # A terminal sends Ctrl-C to the workers, too.
    send = os.killpg if signal_number == signal.SIGINT else os.kill
    send(process.pid, signal_number)
    _, stderr = process.communicate(timeout=30)
    if signal_number != signal.SIGKILL:
        assert process.returncode == 128 + signal_number
        line = (
            "error: interrupted: run the same command again; it keeps the finished "
            "shards"
        )
        assert [x for x in stderr.splitlines() if x.startswith("error")] == [line]
        assert "Traceback" not in stderr
    # The workers end with their launcher.
    group = process.pid
    wait_until(lambda: all(of != group for _, of in processes().values()), seconds=10)
    assert not (tmp_path / "out" / contract.MANIFEST_NAME).exists()
    num_left = num_finished(tmp_path / "out")
    done = run_command(many_faces, tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    num_kept, number = kept_shards(done.stderr)
    assert num_kept == num_left
    assert 3 <= num_kept < number
    assert done.stdout == f"dataset digest: {many_digest}\n"
    assert list(progress_dir.glob("*.tmp")) == []


def test_a_killed_worker_ends_the_run_in_one_line(many_faces, tmp_path):
    arguments = ("--shard_size=16", "--num_workers=2", *WORKER_PROCESSES)
    process = subprocess.Popen(
        command(many_faces, tmp_path / "out", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: num_finished(tmp_path / "out") >= 3)
    [nursery] = children(process.pid)
    workers = children(nursery)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    [line] = [line for line in stderr.splitlines() if "error" in line]
    assert line.startswith("error: a worker process was killed, perhaps because memory")
    assert "Traceback" not in stderr
    assert not {nursery, *workers} & set(processes())
    done = run_command(many_faces, tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    assert kept_shards(done.stderr)[0] >= 3


def children(pid) -> list[int]:
    return [child for child, (parent, _) in processes().items() if parent == pid]


def test_worker_processes_serve_a_caller_that_has_threads(input_dir, tmp_path):
    one = run(input_dir, tmp_path / "one")
    two = run(
        input_dir, tmp_path / "two", num_workers=2, beam_args=list(WORKER_PROCESSES)
    )
    assert two.digest == one.digest


def test_the_photographs_have_their_official_counts(photographs):
    splits = photographs.splits
    counts = {name: split.num_examples for name, split in splits.items()}
    assert counts == {"train": 1521, "validation": 171, "test": 185}
    assert all(split.rejected == {} for split in splits.values())


def test_the_progress_is_read_from_the_sidecars(input_dir, tmp_path, caplog):
    run(input_dir, tmp_path / "out")
    output = str(tmp_path / "out")
    listing = sources.list_images("celeba", input_dir)
    plans = list(plan.shard_plans(listing, SMALL))
    planned = [each.shard for each in plans]
    os.unlink(shards.sidecar_path(output, planned[0].name))
    features = {"image": contract.Feature("float16", (8, 8, 3))}
    bar = progress.ProgressBar(output, planned, features, "second")
    num_images = sum(each.num_images for each in planned)
    assert bar._num_done() == num_images - planned[0].num_images
    shards.make_shard(plans[0], SMALL, listing.reader, output, "second")
    with bar:
        bar._poll()
    assert bar._num_done() == num_images
    assert bar._num_finished == planned[0].num_images


def test_the_progress_outlives_a_listing_that_fails(tmp_path, monkeypatch, caplog):
    output = str(tmp_path / "out")
    bar = progress.ProgressBar(output, [], {}, "run")
    polled = threading.Event()

    def fail_once(path: str) -> list[object]:
        if caplog.records:
            polled.set()
            return []
        raise contract.DatasetError("the bucket does not answer")

    monkeypatch.setattr(progress, "_LOG_SECONDS", 0.01)
    monkeypatch.setattr(progress.paths, "list_directory", fail_once)
    with bar:
        assert polled.wait(10)
    assert (
        "cannot read the progress: the bucket does not answer"
        in caplog.records[0].getMessage()
    )


@pytest.mark.perf
def test_memory_is_flat(real_celeba_dir, tmp_path):
    peaks = []
    for num_images in (1000, 8000):
        history = tmp_path / f"{num_images}.csv"
        program = [sys.executable, "-m", "benchmarks.prepare", "--num_workers=2"]
        program += [f"--tile={real_celeba_dir}", f"--num_images={num_images}"]
        program += [f"--results={history}", f"--output={tmp_path}"]
        program += [f"--beam_arg={argument}" for argument in WORKER_PROCESSES]
        subprocess.run(program, check=True)
        (row,) = results.read(history)["prepare"]
        peaks.append(float(row["peak PSS MB"]))
    assert peaks[1] < 1.2 * peaks[0], peaks


def test_statistics_are_written_in_the_same_pass_or_made_up_for(
    input_dir, tmp_path, monkeypatch
):
    output = tmp_path / "dataset"
    without = calls.prepare(SMALL, input_dir=input_dir, output=str(output))
    assert not (output / stats.STATS_NAME).exists()
    others = tmp_path / "others"
    monkeypatch.setattr(stats, "of_shard", None)
    manifest = calls.prepare(
        SMALL, input_dir=input_dir, output=str(others), with_stats=True
    )
    assert manifest.digest == without.digest
    monkeypatch.undo()
    # The statistics come from the existing shards.
    calls.prepare(SMALL, input_dir=input_dir, output=str(output), with_stats=True)
    for name in (stats.STATS_NAME, contract.OVERVIEW_NAME):
        assert (output / name).read_bytes() == (others / name).read_bytes()
    statistics = json.loads((output / stats.STATS_NAME).read_text())
    assert {split: statistics[split]["num_examples"] for split in statistics} == {
        name: split.num_examples for name, split in manifest.splits.items()
    }
    with Image.open(output / contract.OVERVIEW_NAME) as picture:
        assert picture.width == 4 * SMALL.image_size
    # Statistics of the old dataset would pass for the new dataset's.
    run(input_dir, output, dataclasses.replace(SMALL, seed=1), overwrite=True)
    assert not (output / stats.STATS_NAME).exists()
    assert not (output / contract.OVERVIEW_NAME).exists()
