"""The loop on a tiny dataset, in this process."""

import json
import pathlib
import re
import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs import celeba_debug
from pipeline import contract
from pipeline.dataset import shards
from pipeline.formats import records
from trainer.reporting.run_writer import RunWriter
from trainer.runs import checkpoints
from trainer.training import loop

NUM_IMAGES, SHAPE = 12, (8, 8, 3)
NAME = "d-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns a dataset of 12 random images of 8 px."""
    path, rng = tmp_path_factory.mktemp("dataset"), np.random.default_rng(0)
    encoded = (
        records.encode_record(
            f"{number}.jpg", {"image": rng.integers(0, 256, SHAPE, np.uint8)}, {}
        )
        for number in range(NUM_IMAGES)
    )
    info = shards.write_records(NAME, encoded, path / NAME)
    manifest = contract.Manifest(
        name="d",
        settings={},
        source_fingerprint="ab",
        features={
            "key": contract.Feature("string"),
            "image": contract.Feature("uint8", SHAPE),
        },
        splits={"train": contract.SplitInfo((info,))},
    )
    (path / contract.MANIFEST_NAME).write_text(manifest.to_json())
    return path


def train(dataset: pathlib.Path, run_dir: pathlib.Path) -> dict[int, str]:
    """Trains to step 4 with pictures and a checkpoint at each; returns the ledgers."""
    config = celeba_debug.get_config()
    config.encoder_filters = config.decoder_filters = ()
    config.encoder_units = config.decoder_units = (4,)
    config.update_from_flattened_dict({"layer_defaults.batch_norm": False})
    config.layer_overrides = {}
    config.global_batch_size, config.num_batch_groups = 4, 2
    config.eval_split = "train"
    config.show_neighbours, config.num_picture_traversals = False, 0
    config.num_train_steps, config.keep_checkpoints = 4, 4
    config.checkpoint_every_secs = 0
    config.log_every_steps = config.eval_every_steps = config.image_every_steps = 1
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    loop.train(config, str(dataset), run_dir, strategy)
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return {each["step"]: each["ledger"] for each in lines if "ledger" in each}


@pytest.mark.slow
def test_a_checkpoint_waits_for_pictures_and_is_followed_by_the_next_records(
    dataset: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, save, drawn = RunWriter.write_grids, checkpoints.save, {}

    def write_late(writer: RunWriter, step: int, grids: dict) -> None:
        time.sleep(0.3)
        write(writer, step, grids)

    def save_and_look(directory: pathlib.Path, step: int, *rest: Any) -> pathlib.Path:
        images = directory.parent / "images/samples"
        drawn[step] = len(list(images.rglob(f"{step:09d}.png")))
        return save(directory, step, *rest)

    monkeypatch.setattr(RunWriter, "write_grids", write_late)
    monkeypatch.setattr(checkpoints, "save", save_and_look)
    ledgers = train(dataset, tmp_path / "run")
    # The picture of samples, and the picture of their interpolation.
    assert drawn == {1: 2, 2: 2, 3: 2, 4: 2}
    # The ledger is a hash of all records so far, and step 4 begins the second epoch.
    assert len(set(ledgers.values())) == 4
    for step in (3, 4):
        checkpoints.remove(tmp_path / f"run/checkpoints/step-{step:09d}")
    assert train(dataset, tmp_path / "run") == ledgers


@pytest.mark.parametrize("flag", ["train_split", "eval_split"])
def test_a_split_that_the_dataset_lacks_is_named_before_anything_is_written(
    dataset: pathlib.Path, tmp_path: pathlib.Path, flag: str
) -> None:
    config = celeba_debug.get_config()
    config.eval_split = "train"
    config[flag] = "train+validation"
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    text = (
        f"config.{flag}=train+validation names the split 'validation', but the "
        "dataset has only train: set it to one of these, or give another "
        "`dataset`"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        loop.train(config, str(dataset), tmp_path / "run", strategy)
    assert not (tmp_path / "run").exists()
