"""A dataset in a bucket has the bytes of a local dataset, and is as safe from loss."""

import sys

import pytest

from pipeline import contract, verify
from pipeline.dataset import output_directory, stats
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import files, manifests, paths
from tests.pipeline import calls
from tests.pipeline.commands import kept_shards, run_command, run_verify

SMALL = Settings(image_size=8, shard_size=4)


@pytest.fixture(autouse=True)
def _reached_by_environment(s3_endpoint, monkeypatch) -> None:
    """Configures S3 by environment variables, so `prepare` needs no flags of Beam."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def run(input_dir, output, settings=SMALL, **changes) -> contract.Manifest:
    return calls.prepare(settings, input_dir=input_dir, output=str(output), **changes)


def contents(root: str) -> dict[str, bytes]:
    """Returns the published files of a directory, keyed by name."""
    names = [entry.name for entry in paths.list_directory(root)]
    return {
        name: paths.read_bytes(paths.join(root, name))
        for name in names
        if name != files.PROGRESS_DIR
    }


def in_progress(root: str) -> set[str]:
    folder = paths.join(root, files.PROGRESS_DIR)
    return {entry.name for entry in paths.list_directory(folder)}


def test_a_bucket_gets_the_bytes_of_a_directory(input_dir, tmp_path, url_root):
    local = run(input_dir, tmp_path / "local", with_stats=True)
    manifest = run(input_dir, f"{url_root}/", with_stats=True)
    assert manifest == local
    assert contents(url_root) == contents(str(tmp_path / "local"))
    expected = in_progress(str(tmp_path / "local")) - {output_directory.LOCK_NAME}
    assert in_progress(url_root) == expected
    assert verify.find_faults(url_root, manifests.load(url_root)) == []


@pytest.mark.slow
def test_a_rerun_keeps_what_is_whole(input_dir, url_root, caplog):
    first = run(input_dir, url_root)
    names = [shard.name for split in first.splits.values() for shard in split.shards]
    before = contents(url_root)
    with caplog.at_level("INFO", logger="absl"):
        assert run(input_dir, url_root) == first
    assert kept_shards(caplog.text) == (len(names), len(names))
    caplog.clear()
    # One shard is gone, one is cut, one has other bytes, and the manifest is gone.
    paths.remove(paths.join(url_root, names[0]))
    paths.write_bytes(paths.join(url_root, names[1]), before[names[1]][:-1])
    paths.write_bytes(paths.join(url_root, names[2]), bytes(len(before[names[2]])))
    paths.remove(paths.join(url_root, contract.MANIFEST_NAME))
    with pytest.raises(contract.DatasetError, match="not finished or does not exist"):
        manifests.load(url_root)
    with caplog.at_level("INFO", logger="absl"):
        assert run(input_dir, url_root) == first
    assert kept_shards(caplog.text) == (len(names) - 3, len(names))
    assert contents(url_root) == before


@pytest.mark.slow
def test_other_settings_are_refused_and_overwritten(input_dir, tmp_path, url_root):
    run(input_dir, url_root, with_stats=True)
    other = Settings(image_size=8, shard_size=8)
    with pytest.raises(contract.DatasetError, match="shard_size=4 before, 8 now"):
        run(input_dir, url_root, other)
    fresh = run(input_dir, tmp_path / "fresh", other)
    assert run(input_dir, url_root, other, overwrite=True) == fresh
    assert contents(url_root) == contents(str(tmp_path / "fresh"))
    assert stats.STATS_NAME not in contents(url_root)


def test_what_is_not_ours_is_never_touched(input_dir, url_root):
    paths.write_bytes(paths.join(url_root, "thesis.txt"), b"")
    for overwrite in (False, True):
        with pytest.raises(contract.DatasetError, match="has files that do not belong"):
            run(input_dir, url_root, overwrite=overwrite)
    assert contents(url_root) == {"thesis.txt": b""}
    with pytest.raises(contract.DatasetError, match="is a file: give a directory"):
        run(input_dir, paths.join(url_root, "thesis.txt"))


def test_an_upload_that_breaks_off_publishes_nothing(input_dir, url_root, monkeypatch):
    put_file = paths.put_file

    def fail(local_path: str, path: str, **how: bool) -> None:
        if "-test.tfrecord" in path and path.endswith("tfrecord-00000-of-00002"):
            raise contract.DatasetError("the line is cut")
        put_file(local_path, path, **how)

    monkeypatch.setattr(paths, "put_file", fail)
    with pytest.raises(contract.DatasetError, match="the line is cut"):
        run(input_dir, url_root)
    assert contract.MANIFEST_NAME not in contents(url_root)
    assert not [name for name in in_progress(url_root) if name.endswith(".npz")]
    monkeypatch.undo()


@pytest.mark.slow
def test_worker_processes_can_reach_it(
    input_dir, tmp_path, s3_root, s3_endpoint, monkeypatch
):
    local = run(input_dir, tmp_path / "local")
    flags = (f"--s3_endpoint_url={s3_endpoint}", "--s3_region_name=us-east-1")
    with monkeypatch.context() as without:
        without.delenv("AWS_ENDPOINT_URL")
        done = run_command(
            input_dir,
            s3_root,
            *("--image_size=8", "--shard_size=4", "--num_workers=2"),
            *("--direct_running_mode=multi_processing", *flags),
            python=sys.executable,
        )
    assert done.returncode == 0, done.stderr
    assert local.digest in done.stdout
    assert contents(s3_root) == contents(str(tmp_path / "local"))


def test_verify_names_the_faults_of_a_bucket(input_dir, s3_root):
    manifest = run(input_dir, s3_root)
    done = run_verify(s3_root)
    assert done.returncode == 0, done.stderr
    assert f"dataset digest: {manifest.digest}" in done.stdout
    name = manifest.splits["train"].shards[0].name
    paths.remove(paths.join(s3_root, name))
    paths.write_bytes(paths.join(s3_root, f"{name}x"), b"")
    done = run_verify(s3_root)
    assert done.returncode == verify.EXIT_FAULTY
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert lines == [f"error: {name}: missing", f"error: {name}x: not in manifest.json"]
