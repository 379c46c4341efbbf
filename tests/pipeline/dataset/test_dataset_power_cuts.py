"""After a power cut, finished shards are on the disk and a rerun continues."""

import dataclasses
import pathlib

import pytest

from pipeline import contract, verify
from pipeline.dataset import shards
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import paths
from tests import power_cuts
from tests.pipeline import calls

FIRST = Settings(image_size=8, shard_size=4)
# Shards of both datasets have the same names.
SECOND = dataclasses.replace(FIRST, image_size=6)
NUM_RERUNS = 13


@dataclasses.dataclass(frozen=True)
class Begun:
    """A note: from here on, a new dataset replaces the previous dataset."""

    settings: Settings


@dataclasses.dataclass(frozen=True)
class Published:
    """A note: the dataset with this digest was announced as complete."""

    digest: str


def make(input_dir: str, output: pathlib.Path, settings: Settings) -> str:
    manifest = calls.prepare(
        settings, input_dir=input_dir, output=str(output), overwrite=settings == SECOND
    )
    return manifest.digest


def check_announced(output: pathlib.Path, notes: tuple[object, ...]) -> None:
    """Checks that the disk holds all announced parts of the latest dataset."""
    starts = [n for n, note in enumerate(notes) if isinstance(note, Begun)]
    for note in notes[starts[-1] :] if starts else ():
        if isinstance(note, shards.ShardResult):
            name = note.info.name
            assert shards.read_sidecar(shards.sidecar_path(str(output), name)) == note
            assert paths.hash_file(str(output / name)) == note.info.sha256
        elif isinstance(note, Published):
            assert contract.load_manifest(output).digest == note.digest


@pytest.mark.slow
def test_a_dataset_is_whole_once_it_is_announced(input_dir, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    recorder = power_cuts.Recorder(disk)
    write_shard = shards.write_shard

    def noted(*args, **kwargs) -> shards.ShardResult:
        result = write_shard(*args, **kwargs)
        recorder.note(result)
        return result

    digests = {}
    with monkeypatch.context() as patch, recorder.recording():
        patch.setattr(shards, "write_shard", noted)
        for settings in (FIRST, SECOND):
            recorder.note(Begun(settings))
            digests[settings] = make(input_dir, disk / "a/out", settings)
            recorder.note(Published(digests[settings]))
    num_moments = len(recorder.moments)
    assert num_moments >= 50
    cuts = power_cuts.cuts(recorder.moments, tmp_path, num_moments)
    for number, (moment, root) in enumerate(cuts):
        output = root / "a/out"
        check_announced(output, moment.notes)
        if (output / contract.MANIFEST_NAME).exists():
            manifest = contract.load_manifest(output)
            assert manifest.digest in digests.values()
            assert verify.find_faults(str(output), manifest) == []
        if number % (num_moments * len(power_cuts.HOWS) // NUM_RERUNS) == 0:
            begun = [note for note in moment.notes if isinstance(note, Begun)]
            settings = begun[-1].settings if begun else FIRST
            assert make(input_dir, output, settings) == digests[settings]


def test_lost_bytes_of_a_shard_are_made_again(input_dir, tmp_path):
    digest = make(input_dir, tmp_path / "out", FIRST)
    path, *_ = sorted((tmp_path / "out").glob("*-train.tfrecord-*"))
    whole = path.read_bytes()
    # The shard's sidecar still exists, with the size and hash of the shard.
    for lost in (b"", bytes(len(whole)), whole[: len(whole) // 2]):
        path.write_bytes(lost)
        assert make(input_dir, tmp_path / "out", FIRST) == digest
        assert path.read_bytes() == whole
