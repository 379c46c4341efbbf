"""Sentences about a run, from files that a test wrote."""

import pathlib

import pytest

from tests.trainer.report_pages import make_workdir, write_metrics
from trainer.reporting.html import in_words, run_files

CONFIG = {
    "latent_dim": 8,
    "encoder_filters": [8, 16],
    "global_batch_size": 4,
    "num_train_steps": 100,
}


def evaluation(step: int, elbo: float, **more: float) -> dict:
    return {"step": step, "split": "validation", "elbo": elbo, **more}


def sentences(tmp_path: pathlib.Path, *lines: dict, **config: object) -> list[str]:
    workdir = make_workdir(tmp_path / "run", **{**CONFIG, **config})
    write_metrics(workdir, *lines)
    return in_words.describe(run_files.read(workdir, 0))


def test_a_finished_run_that_was_still_learning(tmp_path: pathlib.Path) -> None:
    speeds = {"images_per_second": 81.04, "data_wait_percent": 1.5}
    assert sentences(
        tmp_path,
        evaluation(0, -300.0, active_units=0),
        {"step": 100, "split": "train", "loss": 1.0, **speeds},
        evaluation(100, -250.25, active_units=6),
    ) == [
        "A convolutional VAE with 8 latents was trained to the end: 100 steps (400 "
        "images), on images of “faces”.",
        "The ELBO of the validation split rose from −300 to −250 nats per image, its "
        "best value: longer training may raise it further.",
        "6 of 8 latents are active; the others carry no information about the image.",
        "Training processed 81 images per second and waited for data in 1.5 % of the "
        "time.",
    ]


@pytest.mark.parametrize(
    ("elbos", "expected"),
    [
        ([-3.0], "The ELBO of the validation split is −3 nats per image at step 0."),
        ([-3.0, -2.0], "rose from −3 to −2 nats per image, its best value so far."),
        ([-3.0, -1.0, -2.0], "rose from −3 to −2 nats per image. Its best value is −1"),
        ([-3.0, -4.0], "fell from −3 to −4 nats per image. Its best value is −3, at s"),
        ([-3.0, -3.0], "stayed at −3 nats per image."),
    ],
)
def test_the_elbo_of_a_run_that_goes_on(elbos, expected, tmp_path) -> None:
    lines = [evaluation(10 * index, elbo) for index, elbo in enumerate(elbos)]
    found = sentences(tmp_path, *lines, {"step": 30, "split": "train", "loss": 1.0})
    assert found[0] == (
        "A convolutional VAE with 8 latents has trained for 30 of 100 steps (120 "
        "images) so far, on images of “faces”."
    )
    assert expected in found[1]


def test_a_run_without_an_evaluation_has_its_loss(tmp_path: pathlib.Path) -> None:
    lines = [{"step": n, "split": "train", "loss": 9.0 - n} for n in (1, 2)]
    found = sentences(
        tmp_path, *lines, condition="label", encoder_filters=[], num_train_steps=-1
    )
    assert found == [
        "A conditional dense VAE with 8 latents has trained for 2 steps (8 images) so "
        "far, on images of “faces”.",
        "The training loss fell: from 8 to 7.",
    ]


def test_a_run_at_its_start(tmp_path: pathlib.Path) -> None:
    assert sentences(tmp_path, latent_dim="many", encoder_filters=3) == [
        "A VAE has begun to train on images of “faces”; it has not made a step yet."
    ]
