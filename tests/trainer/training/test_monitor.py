"""Lines that evaluations print, word for word, before the first step too."""

import dataclasses
import pathlib
import re

import pytest

from configs import (
    celeba,
    mnist_dense,
    mnist_hafner,
    mnist_m2,
    mnist_mlss,
    mnist_pytorch,
)
from pipeline import contract
from tests.golden import golden_commands as golden
from tests.trainer import small_steps
from tests.trainer.trained_runs import train
from trainer.training import monitor

# The split of 14 images is one batch, so an epoch is a step.
FLAGS = (
    "--config.global_batch_size=14",
    "--config.encoder_units=(4,)",
    "--config.decoder_units=(4,)",
    "--config.num_train_steps=2",
    "--config.eval_every_steps=1",
    "--config.image_every_steps=100",
    "--config.show_latents=False",
    "--config.show_neighbours=False",
    "--config.show_strip=False",
)


@pytest.mark.parametrize(
    ("config", "split", "line"),
    [
        ("mnist_hafner", "test", "Epoch {step} elbo {elbo:.2f}"),
        ("mnist_mlss", "validation", "Iteration {step}: loss {loss:.2f}"),
    ],
)
def test_an_evaluation_prints_the_line_of_its_original(
    tmp_path: pathlib.Path, config: str, split: str, line: str
) -> None:
    dataset = golden.HERE / "dataset_folder"
    run = train(dataset, tmp_path / "run", *FLAGS, config=config)
    assert run.returncode == 0, run.output
    scores = run.metrics(split)
    assert list(scores) == [0, 1, 2]
    first_word, *_ = line.split()
    printed = re.findall(rf"^.*?\b({first_word} .*)$", run.output, re.MULTILINE)
    assert printed == [
        line.format(step=step, elbo=row["elbo"], loss=row["loss"])
        for step, row in scores.items()
    ]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (celeba, "step 600  validation loss 104.39567  elbo -104.4"),
        (mnist_hafner, "Epoch 1 elbo -104.40"),
        (mnist_dense, "Epoch 1 cost per image 104.40"),
        (mnist_m2, "Epoch 1 elbo -104.40 accuracy 0.8977"),
        (mnist_mlss, "Iteration 600: loss 104.40"),
        (mnist_pytorch, "Epoch 1.3 loss of the test set 104.40"),
    ],
)
def test_a_line_has_the_values_of_its_evaluation(module, line: str) -> None:
    scalars = {"loss": 104.39567, "elbo": -104.39567, "accuracy": 0.89774}
    config = module.get_config()
    config.global_batch_size = config.global_batch_size or 100
    shard = contract.ShardInfo("train", num_examples=55_000, num_bytes=0, sha256="")
    splits = {"train": contract.SplitInfo((shard,))}
    splits["validation"] = contract.SplitInfo(
        (dataclasses.replace(shard, num_examples=5_000),)
    )
    manifest = dataclasses.replace(small_steps.MANIFEST, splits=splits)
    assert monitor.eval_text(600, scalars, manifest, config) == line
