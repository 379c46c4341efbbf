"""Files in the output directory that a run accepts or discards, and when it does so."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil

import pytest
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline import contract, verify
from pipeline.dataset import output_directory, output_files
from pipeline.jobs import graph, job_servers
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import files, paths
from tests.pipeline import calls

SMALL = Settings(image_size=8, shard_size=4)
OTHER = Settings(image_size=16, shard_size=8)


def run(input_dir, output, settings=SMALL, **changes) -> contract.Manifest:
    manifest = calls.prepare(
        settings, input_dir=str(input_dir), output=str(output), **changes
    )
    assert manifest is not None
    return manifest


@pytest.fixture(scope="module")
def prepared_root(
    tmp_path_factory: pytest.TempPathFactory, make_celeba
) -> pathlib.Path:
    """Returns a folder with `raw` images and a dataset `out`; do not change it."""
    root = tmp_path_factory.mktemp("made")
    make_celeba().write(root / "raw")
    run(root / "raw", root / "out")
    return root


@pytest.fixture
def root(prepared_root: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    shutil.copytree(prepared_root, tmp_path / "made")
    return tmp_path / "made"


def content(directory: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != output_directory.LOCK_NAME
    }


def test_progress_that_was_deleted_after_a_kill_can_be_overwritten(root):
    out = root / "out"
    digest = contract.load_manifest(out).digest
    (out / contract.MANIFEST_NAME).unlink()
    shutil.rmtree(out / files.PROGRESS_DIR)
    for name in (f"rejected.jsonl.{'0' * 32}.tmp", ".DS_Store", "._x"):
        (out / name).write_text("")
    with pytest.raises(
        contract.DatasetError, match=r"neither .progress nor .*`overwrite=True`"
    ):
        run(root / "raw", out)
    assert run(root / "raw", out, overwrite=True).digest == digest
    assert verify.find_faults(str(out), contract.load_manifest(out)) == []


@pytest.mark.parametrize("text", ["{", '{"schema_version": 1}'])
def test_a_damaged_manifest_beside_shards_can_be_overwritten(root, text):
    out = root / "out"
    shutil.rmtree(out / files.PROGRESS_DIR)
    (out / contract.MANIFEST_NAME).write_text(text)
    with pytest.raises(
        contract.DatasetError, match="`overwrite=True` to discard the shards"
    ):
        run(root / "raw", out)
    run(root / "raw", out, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        {"manifest.json": '{"name": "a web page", "icons": []}'},
        {"manifest.json": "not JSON", "index.html": ""},
        {"mnist-train.tfrecord-00000-of-00001": "", "dataset_info.json": "{}"},
        {
            "mnist-train.tfrecord-00000-of-00001": "",
            "dataset_info.json": '{"name": "mnist", "version": "3.0.1", '
            '"fileFormat": "tfrecord", "splits": [], "moduleName": "tfds.mnist"}',
        },
        {"faces-train.tfrecord-00000-of-00001": "", "thesis.txt": ""},
        {"rejected.jsonl": ""},
    ],
)
def test_files_of_others_stay(root, tmp_path, names, overwrite):
    out = tmp_path / "theirs"
    out.mkdir()
    for name, text in names.items():
        (out / name).write_text(text)
    before = content(out)
    with pytest.raises(
        contract.DatasetError, match="files that do not belong to a dataset"
    ):
        run(root / "raw", out, overwrite=overwrite)
    assert content(out) == before
    assert not (out / files.PROGRESS_DIR).exists()


def test_a_file_of_others_beside_a_dataset_survives_an_overwrite(root):
    (root / "out/notes").mkdir()
    (root / "out/notes/mine.json").write_text("mine")
    (root / "out/README.md").write_text("mine")
    run(root / "raw", root / "out", OTHER, overwrite=True)
    assert (root / "out/notes/mine.json").read_text() == "mine"
    assert (root / "out/README.md").read_text() == "mine"


def test_an_overwrite_with_too_many_rejects_leaves_no_dataset(root):
    out = root / "out"
    assert (out / "dataset_info.json").exists()
    settings = dataclasses.replace(SMALL, crop_size=50)
    with pytest.raises(contract.DatasetError, match="30 of 30 images were rejected"):
        run(root / "raw", out, settings, overwrite=True)
    rejected = (out / contract.REJECTED_NAME).read_text().splitlines()
    assert len(rejected) == 30
    assert all('"too_small"' in line for line in rejected)
    # Neither our readers nor TensorFlow Datasets take the directory for a dataset.
    assert not (out / contract.MANIFEST_NAME).exists()
    assert not (out / "dataset_info.json").exists()


def break_source(root, monkeypatch):
    (root / "raw/list_eval_partition.txt").write_text("x")
    return {}


def fill_disk(root, monkeypatch):
    usage = type("Usage", (), {"free": 0})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    return {"settings": Settings(image_size=512)}


def remove_images(root, monkeypatch):
    (root / "raw/img_align_celeba.zip").unlink()
    (root / "raw/img_align_celeba").mkdir()
    (root / "raw/img_align_celeba/000001.jpg").write_bytes(b"x")
    return {}


def refuse_beam_flags(root, monkeypatch):
    class Refusing:
        def __init__(self, **_):
            raise contract.DatasetError("a flag that the runner lacks")

    monkeypatch.setattr("apache_beam.Pipeline", Refusing)
    return {}


def lack_a_server(root, monkeypatch):
    return {"beam_args": ["--runner=PrismRunner", "--prism_location=/nonexistent"]}


def lack_a_jar(root, monkeypatch):
    flags = ("--flink_master=[local]", "--flink_job_server_jar=/nonexistent.jar")
    return {"beam_args": ["--runner=FlinkRunner", *flags]}


def refuse_the_job(root, monkeypatch):
    def refuse(self, *_):
        raise RuntimeError("no such pipeline option")

    monkeypatch.setattr(portable_runner.JobServiceHandle, "run", refuse)
    return {"beam_args": ["--runner=PortableRunner", "--job_endpoint=embed"]}


def start_no_worker(root, monkeypatch):
    # The job server accepts this job, and its worker ends at once.
    flags = ("--environment_type=PROCESS", '--environment_config={"command": "false"}')
    runner = ("--runner=PortableRunner", "--job_endpoint=embed")
    return {"beam_args": [*runner, *flags]}


def refuse_the_dataflow_job(root, monkeypatch):
    def refuse(self, pipeline, options):
        raise RuntimeError("403: the Dataflow API is not enabled")

    monkeypatch.setattr(DataflowRunner, "run_pipeline", refuse)
    monkeypatch.setattr(job_servers, "check", lambda *_: None)
    # Skip Beam's own check, which asks Google about the bucket for two minutes.
    monkeypatch.setattr(PipelineOptionsValidator, "validate", lambda _: [])
    flags = ("--project=p", "--region=r", "--temp_location=gs://b/t")
    return {"beam_args": ["--runner=DataflowRunner", *flags]}


def stop_the_local_runner(root, monkeypatch):
    def stop(self, *_):
        raise contract.DatasetError("stopped")

    monkeypatch.setattr(FnApiRunner, "run_pipeline", stop)
    return {}


def fail_to_plan(root, monkeypatch):
    return {"settings": Settings(image_size=8, preprocess="no.module:function")}


@pytest.mark.parametrize(
    "spoil",
    [
        *(break_source, fill_disk, remove_images, refuse_beam_flags, fail_to_plan),
        *(lack_a_server, lack_a_jar, refuse_the_job, start_no_worker),
        *(refuse_the_dataflow_job, stop_the_local_runner),
    ],
)
def test_nothing_is_discarded_before_a_worker_starts(root, monkeypatch, spoil):
    before = content(root / "out")
    changes = {"settings": OTHER, **spoil(root, monkeypatch)}
    with pytest.raises(contract.DatasetError):
        run(root / "raw", root / "out", overwrite=True, **changes)
    assert content(root / "out") == before


def test_a_first_step_that_runs_again_keeps_the_new_files(root):
    """Some runners run a step twice, perhaps after the job's end."""
    other = run(root / "raw", root / "other", OTHER)
    out = root / "out"
    with output_directory.locked(
        str(out), OTHER, other.source_fingerprint, run_id="one", overwrite=True
    ) as locked:
        names = [
            shard.name for split in other.splits.values() for shard in split.shards
        ]
        (out / files.PROGRESS_DIR / f"{names[0]}.one.npz").touch()
        locked.begin(names)
        assert not (out / contract.MANIFEST_NAME).exists()
        assert not list(out.glob("*.tfrecord-*"))
        shutil.copytree(root / "other", out, dirs_exist_ok=True, ignore=ignore_settings)
        after = content(out)
        locked.begin(names)
        assert content(out) == after
    assert run(root / "raw", out, OTHER) == other


def ignore_settings(folder, names):
    return {output_files.SETTINGS_NAME, output_directory.LOCK_NAME} & set(names)


def test_missing_images_are_named_before_an_overwrite(root, monkeypatch):
    remove_images(root, monkeypatch)
    with pytest.raises(
        contract.DatasetError, match=r"^29 of 30 images are missing, .*"
    ):
        run(root / "raw", root / "out", overwrite=True)
    # If the limit allows so many missing images, the error is an empty split instead.
    out = root / "other"
    with pytest.raises(contract.DatasetError, match="every image of split"):
        run(root / "raw", out, overwrite=True, max_rejected_fraction=1)


def test_the_discarded_shards_make_room_for_the_new_ones(root, monkeypatch):
    needed = 30 * (8 * 8 * 3 * 2 + 512)
    shards = (root / "out").glob("*.tfrecord-*")
    old = sum(path.stat().st_size for path in shards)
    usage = type("Usage", (), {"free": needed - old})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    run(root / "raw", root / "out", overwrite=True)
    usage.free = needed - old - 1
    with pytest.raises(contract.DatasetError, match="26.9 kB, .* has 26.9 kB free: fr"):
        run(root / "raw", root / "out", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "output", ["raw", "raw/", ".", "link", "out/..", "raw/../raw", "uplink"]
)
def test_an_output_that_is_or_holds_the_input_is_refused(
    root, monkeypatch, output, overwrite
):
    (root / "link").symlink_to(root / "raw")
    (root / "uplink").symlink_to(root)
    (root / files.PROGRESS_DIR).mkdir()
    before = content(root)
    monkeypatch.chdir(root)
    for output_dir in (output, f"{root}/{output}"):
        with pytest.raises(
            contract.DatasetError,
            match=r"is the same as input=.*/raw, or contains it: give another",
        ):
            run("raw", output_dir, overwrite=overwrite)
    assert content(root) == before


def test_a_bucket_that_holds_the_input_is_refused():
    output_directory.check_apart("s3://a/b", {"dataset": "s3://a/bc", "model": "/a/b"})
    for output in ("s3://a/b", "s3://a/b/", "s3://a"):
        with pytest.raises(contract.DatasetError, match="the same as dataset=s3://a/b"):
            output_directory.check_apart(output, {"dataset": "s3://a/b/"})


@pytest.mark.parametrize("how", ["deleted", "replaced", "all of .progress"])
def test_a_lock_that_is_deleted_still_holds(root, how):
    output = str(root / "out")
    lock = root / "out" / files.PROGRESS_DIR / output_directory.LOCK_NAME
    with output_directory.locked(output, SMALL, "ab", run_id="one", overwrite=True):
        lock.unlink()
        if how == "replaced":
            lock.write_text("")
        elif how != "deleted":
            shutil.rmtree(lock.parent)
        with pytest.raises(contract.DatasetError, match="another run is at work"):
            run(root / "raw", root / "out")
        lock.parent.mkdir(exist_ok=True)
    run(root / "raw", root / "out", overwrite=True)


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "directory"])
def test_what_is_planted_for_the_lock_is_refused(root, kind):
    lock = root / "out" / files.PROGRESS_DIR / output_directory.LOCK_NAME
    lock.unlink()
    target = root / "target"
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "directory":
        lock.mkdir()
    else:
        lock.symlink_to(target)
        if kind == "link":
            target.write_text("theirs")
    with pytest.raises(
        contract.DatasetError, match="^cannot lock output=.*: remove it"
    ):
        run(root / "raw", root / "out")
    assert target.exists() == (kind == "link")


def test_what_is_planted_beside_shards_is_no_error(root):
    out = root / "out"
    name = f"{contract.REJECTED_NAME}.{'0' * 32}.tmp"
    target = root / "target"
    target.write_text("theirs")
    (out / name).mkdir()
    (out / files.PROGRESS_DIR / "x.tmp").mkdir()
    (out / files.PROGRESS_DIR / "y.tmp").symlink_to(target)
    (out / files.PROGRESS_DIR / "z.npz").symlink_to(root / "absent")
    os.mkfifo(out / files.PROGRESS_DIR / "p.tmp")
    (out / contract.REJECTED_NAME).unlink()
    (out / contract.REJECTED_NAME).symlink_to(target)
    run(root / "raw", out, overwrite=True)
    assert target.read_text() == "theirs"
    assert not (out / contract.REJECTED_NAME).is_symlink()


def test_an_output_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root / "out")
    digest = contract.load_manifest(root / "out").digest
    assert run(root / "raw", tmp_path / "link").digest == digest


def test_settings_are_recorded_before_the_first_shard(root, monkeypatch):
    seen = []

    def stop(*_, **__):
        body = paths.read_bytes(str(root / "new/.progress/settings.json"))
        seen.append(json.loads(body)["settings"]["image_size"])
        raise contract.DatasetError("stopped")

    monkeypatch.setattr(graph, "build_graph", stop)
    for overwrite in (False, True):
        with contextlib.suppress(contract.DatasetError):
            run(root / "raw", root / "new", overwrite=overwrite)
    assert seen == [8, 8]
