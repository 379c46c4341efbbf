"""Any checkpoint, workdir or manifest is either read or refused with its own error."""

import dataclasses
import io
import json
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import numpy as arrays_of_library

from configs import celeba_debug
from pipeline import contract
from pipeline.formats import records
from pipeline.storage import locks
from tests.fuzzing import (
    JSON_TEXTS,
    changed,
    changed_json,
    check_manifest,
    reads_or_refuses,
    refuses,
)
from tests.trainer.runs.sealed import npz, safetensors, seal
from trainer.analysis.latents import mixture
from trainer.cli import command_line
from trainer.data import input_pipeline
from trainer.generation import sampling
from trainer.runs import checkpoints, metrics_file, state, trained, workdir

NAME = "d-train.tfrecord-00000-of-00001"
MANIFEST = contract.Manifest(
    name="d",
    settings={},
    source_fingerprint="ab",
    features={
        "key": contract.Feature("string"),
        "image": contract.Feature("uint8", (32, 32, 3)),
        "label": contract.Feature("int64"),
    },
    splits={"train": contract.SplitInfo((contract.ShardInfo(NAME, 1, 19, "ab"),))},
)
BODY = json.loads(MANIFEST.to_json())
ARRAYS = {"vae/kernel": np.arange(6.0).reshape(2, 3), "step": np.int64(5)}
SOUND = arrays_of_library.save({name: np.asarray(x) for name, x in ARRAYS.items()})
HEADER = json.loads(SOUND[8 : 8 + int.from_bytes(SOUND[:8], "little")])
BODY_OF_ARRAYS = SOUND[8 + int.from_bytes(SOUND[:8], "little") :]
CONFIG = json.loads(celeba_debug.get_config().to_json())
few = settings(max_examples=max(20, settings().max_examples // 100))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("fuzz")


class Evil:
    """An object that runs a command when it is unpickled."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def __reduce__(self):
        return (os.mkdir, (str(self._path),))


def refused_or_arrays(path: pathlib.Path, expected: Callable[[], Any]) -> None:
    """Asserts that a checkpoint is refused, or has the arrays of another reader."""

    def check(loaded: tuple[dict[str, np.ndarray], Any]) -> None:
        arrays = dict(expected())
        assert loaded[0].keys() == arrays.keys()
        for name, array in loaded[0].items():
            assert not array.dtype.hasobject
            assert array.dtype == arrays[name].dtype
            np.testing.assert_array_equal(array, arrays[name])

    reads_or_refuses(
        checkpoints.CheckpointError, call=lambda: checkpoints.load(path), check=check
    )


@given(data=st.binary(max_size=60) | changed(npz(ARRAYS)))
def test_any_arrays_of_an_earlier_release(data, folder):
    path = seal(folder / "step-000000005", "state.npz", data)
    refused_or_arrays(path, lambda: np.load(io.BytesIO(data)))


@given(
    data=st.binary(max_size=60)
    | changed(SOUND)
    | changed_json(HEADER).map(lambda header: safetensors(header, BODY_OF_ARRAYS))
    | changed(json.dumps(HEADER).encode()).map(
        lambda header: safetensors(header, BODY_OF_ARRAYS)
    )
)
def test_any_arrays_of_a_checkpoint(data, folder):
    path = seal(folder / "step-000000004", "state.safetensors", data)
    refused_or_arrays(path, lambda: arrays_of_library.load(data))


@given(
    text=JSON_TEXTS
    | changed_json({"step": 6, "num_bytes": 1, "sha256": "ab"}).map(json.dumps)
)
def test_any_description_of_a_checkpoint(text, folder):
    path = seal(folder / "step-000000006", "state.safetensors", b"x")
    (path / "checkpoint.json").write_bytes(text.encode(errors="surrogatepass"))
    refuses(checkpoints.CheckpointError, call=lambda: checkpoints.load(path))


@pytest.mark.parametrize("form", ["npz", "npy", "pickle"])
@pytest.mark.parametrize(
    ("name", "match"), [("state.npz", "pickle"), ("state.safetensors", "header")]
)
def test_what_is_pickled_is_neither_loaded_nor_run(tmp_path, form, name, match):
    evil = Evil(tmp_path / "executed")
    array = np.array([evil], dtype=object)
    if form == "npz":
        data = npz({"step": array})
    elif form == "npy":
        np.save(file := io.BytesIO(), array, allow_pickle=True)
        data = file.getvalue()
    else:
        data = pickle.dumps(evil)
    path = seal(tmp_path / "step-000000001", name, data)
    with pytest.raises(checkpoints.CheckpointError, match=match):
        checkpoints.load(path)
    (tmp_path / "mixture.npz").write_bytes(data)
    with pytest.raises(ValueError, match="does not hold a mixture"):
        mixture.load(tmp_path / "mixture.npz")
    (tmp_path / "latents.npy").write_bytes(data)
    with pytest.raises(ValueError, match="latents.npy is neither"):
        sampling.load_latents(tmp_path / "latents.npy")
    assert not (tmp_path / "executed").exists()
    # With pickle allowed, the command does run.
    np.load(io.BytesIO(npz({"step": array})), allow_pickle=True)["step"]
    assert (tmp_path / "executed").exists()


def test_compressed_arrays_are_refused(tmp_path):
    # Compressed arrays may expand to any size.
    data = npz({"step": np.zeros(1 << 20)}, np.savez_compressed)
    with pytest.raises(checkpoints.CheckpointError, match="its arrays are compressed"):
        checkpoints.load(seal(tmp_path / "step-000000001", "state.npz", data))


@pytest.mark.parametrize("num_values", [2**40, 2**62, 10**30])
def test_an_array_that_announces_any_size(tmp_path, num_values):
    entry = {"dtype": "F64", "shape": [num_values], "data_offsets": [0, 8 * num_values]}
    data = safetensors({"step": entry}, bytes(8))
    with pytest.raises(checkpoints.CheckpointError, match="is damaged: "):
        checkpoints.load(seal(tmp_path / "step-000000002", "state.safetensors", data))
    header = {"descr": "<f8", "fortran_order": False, "shape": (num_values,)}
    np.lib.format.write_array_header_1_0(array := io.BytesIO(), header)
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("step.npy", array.getvalue())
    with pytest.raises(checkpoints.CheckpointError, match="is damaged: "):
        checkpoints.load(
            seal(tmp_path / "step-000000001", "state.npz", file.getvalue())
        )


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"step": np.zeros(2)},
        {"step": np.array("text")},
        {"step": np.float32(1)},
    ],
)
@pytest.mark.parametrize("is_earlier", [False, True])
def test_a_checkpoint_of_other_arrays(tmp_path, arrays, is_earlier):
    config = celeba_debug.get_config()
    fresh = state.make_state(config, MANIFEST)
    sound = {name: value.numpy() for name, value in fresh.variables().items()}
    del sound["step"]
    # Safetensors cannot hold text: see test_arrays_file.
    if is_earlier or arrays.get("step", sound["ledger"]).dtype.kind == "U":
        data = npz({**sound, **arrays})
        seal(tmp_path / "step-000000005", "state.npz", data)
    else:
        checkpoints.save(tmp_path, 5, {**sound, **arrays}, {})
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another model"):
        state.load_averaged_vae(config, MANIFEST, tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another model"):
        state.restore(fresh, tmp_path)


@given(data=st.binary(max_size=60) | changed(npz(ARRAYS)))
def test_any_file_for_a_mixture_or_latents(data, folder):
    (folder / "mixture.npz").write_bytes(data)
    refuses(ValueError, call=lambda: mixture.load(folder / "mixture.npz"))
    for suffix in (".npy", ".json"):
        path = folder / f"latents{suffix}"
        path.write_bytes(data)
        reads_or_refuses(
            ValueError,
            call=lambda path=path: sampling.load_latents(path),
            check=lambda _, suffix=suffix: check_latents(suffix, data),
        )


def check_latents(suffix: str, data: bytes) -> None:
    # Neither random bytes nor an npz with changes are an array; a number is JSON.
    assert suffix == ".json"
    np.array(json.loads(data), np.float32)


@given(
    config=JSON_TEXTS | changed_json(CONFIG).map(json.dumps),
    dataset=JSON_TEXTS
    | changed_json({"digest": MANIFEST.digest, "settings": {}, "path": "x"}).map(
        json.dumps
    ),
)
def test_any_workdir_of_a_run_that_goes_on(config, dataset, folder):
    path = folder / "workdir"
    path.mkdir(exist_ok=True)
    (path / "config.json").write_bytes(config.encode(errors="surrogatepass"))
    (path / "dataset.json").write_bytes(dataset.encode(errors="surrogatepass"))
    settings = celeba_debug.get_config()

    def check(lock: locks.DirectoryLock) -> None:
        lock.close()
        # The run has the settings and the dataset of the caller.
        assert json.loads((path / "config.json").read_text()) == CONFIG
        recorded = json.loads((path / "dataset.json").read_text())
        assert recorded["digest"] == MANIFEST.digest

    reads_or_refuses(
        ValueError,
        call=lambda: workdir.acquire(path, settings, MANIFEST, "x"),
        check=check,
    )


@pytest.fixture(scope="module")
def run_dir(folder: pathlib.Path) -> pathlib.Path:
    """Returns an untrained run, with a dataset that has no valid shard."""
    path = folder / "run"
    config = celeba_debug.get_config()
    workdir.acquire(path, config, MANIFEST, folder)
    (folder / contract.MANIFEST_NAME).write_text(MANIFEST.to_json())
    fresh = state.make_state(config, MANIFEST)
    checkpoints.save(path / "checkpoints", 0, fresh.arrays(), {})
    assert trained.load(path).step == 0
    return path


@few
@given(config=changed_json(CONFIG))
def test_any_settings_of_a_run_that_is_used(config, run_dir):
    (run_dir / "config.json").write_text(json.dumps(config))

    def check(run: trained.TrainedRun) -> None:
        assert run.step == 0
        assert run.manifest == MANIFEST
        assert json.loads(run.config.to_json()) == {**run.config, **config}

    reads_or_refuses(ValueError, call=lambda: trained.load(run_dir), check=check)


@given(text=JSON_TEXTS | st.sampled_from([b"[]", b"{}", b"1"]).map(bytes.decode))
def test_any_lines_of_metrics(text, folder):
    path = folder / "metrics.jsonl"
    sound = b'{"step": 1}\n'
    path.write_bytes(sound + text.encode(errors="surrogatepass") + b"\n" + sound)
    metrics_file.truncate(path, 3)
    assert path.read_bytes().startswith(sound)


@few
@given(body=changed_json(BODY))
def test_any_manifest_makes_batches_or_a_clear_error(body, folder):
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / NAME).write_bytes(b"x" * 19)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "_digest", lambda _: BODY["digest"])

        def use():
            manifest = contract.parse_manifest(json.dumps(body))
            for split in manifest.splits:
                context = tf.distribute.InputContext()
                input_pipeline.evaluation_batches(
                    manifest, data, split, global_batch_size=4, context=context
                )
            return manifest

        reads_or_refuses(
            contract.DatasetError,
            call=use,
            check=lambda manifest: check_split_sizes(manifest, body),
        )


def check_split_sizes(manifest: contract.Manifest, body: dict[str, Any]) -> None:
    check_manifest(manifest, body)
    for split in manifest.splits.values():
        assert [shard.num_bytes for shard in split.shards] == [19]


def read(dataset: pathlib.Path, manifest: contract.Manifest, data: bytes) -> Any:
    """Returns the only record of a dataset whose shard holds `data`."""
    dataset.mkdir(exist_ok=True)
    (dataset / NAME).write_bytes(data)
    shards = (contract.ShardInfo(NAME, 1, len(data), "ab"),)
    splits = {"train": contract.SplitInfo(shards)}
    manifest = dataclasses.replace(manifest, splits=splits)
    with command_line.damage_explained():
        return input_pipeline.first_examples(manifest, dataset, "train", 1)


LATENTS = {
    "key": contract.Feature("string"),
    **{name: contract.Feature("float32", (3,)) for name in contract.LATENTS},
}


@given(record=st.binary(max_size=40), has_images=st.booleans())
def test_any_record_that_is_no_example_is_one_line(record, has_images, folder):
    features = MANIFEST.features if has_images else LATENTS
    manifest = dataclasses.replace(MANIFEST, features=features)
    with pytest.raises(contract.DatasetError, match="a shard is damaged, .*verify"):
        read(folder / "record", manifest, b"".join(records.frame(record)))


def test_a_damaged_shard_is_one_line(tmp_path):
    data = b"".join(records.frame(b"record"))
    with pytest.raises(
        contract.DatasetError, match=r"a shard is damaged, .*\(record 0 "
    ):
        read(tmp_path, MANIFEST, data[:-1] + b"!")


@pytest.mark.parametrize("num_bytes", [1, 4, 5, 2 * 4 * 32 * 32 * 3])
def test_an_image_of_another_size_is_one_line(num_bytes, tmp_path):
    image = np.zeros(num_bytes, np.uint8)
    record = records.encode_record("a", {"image": image}, {"label": [1]})
    with pytest.raises(contract.DatasetError, match="has no image of 3072 bytes"):
        read(tmp_path, MANIFEST, b"".join(records.frame(*record)))


@given(record=changed(b"".join(records.encode_record("a", {}, {"label": [1]}))))
def test_any_other_features_are_those_of_the_dataset_or_one_line(record, folder):
    image = contract.Feature("uint8", (1, 1, 1))
    manifest = dataclasses.replace(
        MANIFEST, features={**MANIFEST.features, "image": image}
    )
    pixel = b"".join(records.encode_record("", {"image": np.zeros(1, np.uint8)}, {}))
    entry = pixel[2 : pixel.index(b"\x03key") - 3]
    body = record[2:] + entry
    data = b"".join(records.frame(b"\x0a" + bytes([len(body)]) + body))

    def check(examples: Any) -> None:
        actual = {name: tensor.numpy() for name, tensor in examples.items()}
        assert actual.keys() == {*manifest.features, "record_id"}
        assert actual["image"].shape == (1, 1, 1, 1)
        assert np.abs(actual["image"]).max() <= 1
        assert actual["label"].shape == (1,)
        assert actual["label"].dtype == np.int64

    reads_or_refuses(
        contract.DatasetError,
        call=lambda: read(folder / "others", manifest, data),
        check=check,
    )
