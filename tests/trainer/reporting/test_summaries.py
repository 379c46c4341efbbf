import time
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from configs import celeba, celeba_debug
from pipeline import contract
from tests.trainer.small_steps import BATCH, MANIFEST, make_small_run
from tests.trainer.trained_runs import Run
from trainer.analysis import nearest_images
from trainer.analysis.latents import usage
from trainer.models import vae
from trainer.numerics import exact
from trainer.reporting import sample_grids, summaries
from trainer.runs import settings, trained

# Conditions of 25 samples.
NO_CONDITIONS = np.zeros([25, 0], np.float32)


def test_neighbours_are_of_the_samples_that_are_shown(reference_run: Run) -> None:
    exact.configure()
    run = trained.load(reference_run.workdir)
    (batch,) = run.batches("validation", 11)
    shown = sample_grids.Shown(
        batch["image"], batch["input"], batch["conditions"], NO_CONDITIONS
    )
    grid, ratio = summaries.draw_neighbours(run, shown)
    samples = sample_grids.draw_samples(run.vae, NO_CONDITIONS, run.config.seed)
    actual = nearest_images.in_training(run, samples)
    # 25 pairs, five in a row.
    assert grid.shape == (5 * 32, 10 * 32, 3)
    np.testing.assert_allclose(
        grid[:32, 32:64], (actual.images[0] + 1) * 127.5, atol=0.51
    )
    assert reference_run.metrics("validation")[50]["memorisation_ratio"] == (
        pytest.approx(ratio, rel=1e-4)
    )
    # Training images have no memorisation ratio.
    (batch, *_) = run.batches("train", 4)
    shown = sample_grids.Shown(
        batch["image"], batch["input"], batch["conditions"], NO_CONDITIONS
    )
    assert summaries.draw_neighbours(run, shown)[1] is None


def test_a_dataset_card_keeps_each_value_in_its_cell() -> None:
    manifest = MANIFEST.__class__(
        **{**MANIFEST.__dict__, "settings": {"input": "a|b\nc"}}
    )
    lines = summaries.dataset_card(manifest).splitlines()
    assert "| --input | a\\|b c |" in lines
    assert "| images | 8 x 8 x 3, stored as float32 |" in lines
    assert all(line.startswith("|") and line.endswith("|") for line in lines)


def test_a_dataset_card_has_some_of_many_names() -> None:
    names = tuple(f"name_{n}" for n in range(11))
    for shown, expected in (
        (names, "11 names: name_0, name_1, name_2, name_3, name_4, name_5, name_6, "),
        (names[:10], "name_0, name_1, name_2, name_3, name_4, name_5, name_6, "),
    ):
        feature = contract.Feature("int64", (len(shown),), shown)
        features = {**MANIFEST.features, "attributes": feature}
        manifest = MANIFEST.__class__(**{**MANIFEST.__dict__, "features": features})
        (line,) = [
            line
            for line in summaries.dataset_card(manifest).splitlines()
            if line.startswith("| feature attributes |")
        ]
        rest = "name_7, name_8, name_9" + (", …" if shown is names else "")
        assert line == f"| feature attributes | {expected}{rest} |"


def test_settings_unlike_the_flagships_stand_first() -> None:
    config = celeba.get_config()
    config.latent_dim = 8
    config.layer_defaults.batch_norm = False
    config.encoder_filters = (8, 16)
    changed, _, others = summaries.settings_table(
        settings.resolve(config, num_replicas=1)
    ).partition("\n\n")
    assert changed.splitlines() == [
        "| changed setting | value | in `configs/celeba.py` |",
        "| --- | --- | --- |",
        "| latent_dim | 8 | 100 |",
        "| encoder_filters | 8, 16 | 32, 64, 64, 128, 256 |",
        "| layer_defaults.batch_norm | no | yes |",
    ]
    # Sizes that follow from the number of devices are no change.
    assert "| global_batch_size | 64 |" in others.splitlines()
    assert "| learning_rate | 0.001 |" in others.splitlines()
    names = [line.split(" | ")[0] for line in others.splitlines()[2:]]
    assert len(names) == len(settings.flatten(config)) - 3


@pytest.mark.parametrize("condition", ["none", "label"])
def test_the_graph_has_conditions_only_if_the_model_reads_them(condition: str) -> None:
    config = celeba_debug.get_config()
    config.encoder_filters, config.decoder_filters = (8,), (8,)
    num = {"none": 0, "label": 3}[condition]
    run = trained.TrainedRun(
        config, MANIFEST, "", vae.make_vae(config, (8, 8, 3), num), step=0
    )
    graph = summaries.model_graph(run).as_graph_def()
    inputs = {node.name for node in graph.node if node.op == "Placeholder"}
    inputs = {name for name in inputs if "resource" not in name}
    assert inputs & {"image", "conditions"} == {"image", *["conditions"][: num and 1]}
    # A node that no other node reads hangs in the graph beside the model.
    read = {name.split(":")[0] for node in graph.node for name in node.input}
    assert inputs & {"image", "conditions"} <= read


def test_memory_is_that_of_the_process_and_of_the_fullest_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 100 < summaries.memory_mib()["memory/process_mib"] < 1e6

    class Gpu:
        def __init__(self, index: int) -> None:
            self.name = f"/device:GPU:{index}"

    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: [Gpu(0), Gpu(1)]
    )
    monkeypatch.setattr(
        tf.config.experimental,
        "get_memory_info",
        lambda name: {"peak": {"GPU:0": 2**20, "GPU:1": 2**22}[name]},
    )
    assert summaries.memory_mib()["memory/gpu_peak_mib"] == 4


def test_an_evaluation_knows_the_posteriors_of_the_examples_that_count() -> None:
    run = make_small_run()
    weight = np.array([1, 1, 1, 0, 1, 1, 0, 1], np.float32)
    index = tf.constant(0, tf.int64)
    _, latents = run.steps.evaluate_batch({**BATCH, "weight": weight}, index)
    counted = BATCH["image"][weight > 0]
    conditions = np.zeros([len(counted), 0], np.float32)
    mean, log_var = run.state.ema_vae.encode(counted, conditions)
    mean, log_var = mean.numpy(), log_var.numpy()
    kl = 0.5 * (mean**2 + np.exp(log_var) - log_var - 1)
    expected = [kl.sum(0), mean.sum(0), (mean**2).sum(0)]
    np.testing.assert_allclose(latents, expected, rtol=1e-3, atol=1e-5)
    _, means, squares = latents.numpy() / len(counted)
    assert usage.num_active(squares - means**2) == usage.active_units(mean)


def test_the_wait_for_batches_is_measured() -> None:
    def slowly() -> Iterator[dict[str, np.ndarray]]:
        while True:
            time.sleep(0.1)
            yield BATCH

    signature = {
        name: tf.TensorSpec(array.shape, array.dtype) for name, array in BATCH.items()
    }
    data = tf.data.Dataset.from_generator(slowly, output_signature=signature)
    started_at = time.monotonic()
    run = make_small_run()
    *_, wait_secs = run.steps.train(iter(data), tf.constant(5, tf.int64))
    assert 0.4 < float(wait_secs) <= time.monotonic() - started_at
