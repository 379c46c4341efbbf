"""Steps that are made or skipped, or that end the run."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.small_steps import BATCH, BATCH_SIZE, make_small_run

# Variables that a skipped step changes.
COUNTERS = {"step", "ledger", "loss_scale/scale", "loss_scale/num_good_steps"}


def differing(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> set[str]:
    assert first.keys() == second.keys()
    return {name for name in first if not np.array_equal(first[name], second[name])}


def test_a_gradient_that_overflows_skips_the_step_and_halves_the_scale() -> None:
    run = make_small_run(precision="mixed_float16")
    run.train(2)
    before = run.arrays()
    assert run.state.loss_scale is not None
    # At this scale the float16 gradients overflow, and the loss stays finite.
    run.state.loss_scale.scale.assign(2.0**40)
    metrics, can_go_on = run.train(1)
    assert can_go_on
    assert not np.isfinite(metrics["gradient_norm"])
    assert np.isfinite(metrics["loss"])
    assert metrics["loss_scale"] == 2.0**40
    after = run.arrays()
    assert differing(before, after) == COUNTERS
    assert after["step"] == 3
    assert after["loss_scale/scale"] == 2.0**39
    assert after["loss_scale/num_good_steps"] == 0


def test_a_run_goes_on_after_steps_that_were_skipped() -> None:
    run = make_small_run(precision="mixed_float16", loss_scale_growth_steps=1000)
    assert run.state.loss_scale is not None
    run.state.loss_scale.scale.assign(2.0**40)
    before = run.arrays()
    metrics, can_go_on = run.train(30)
    assert can_go_on
    assert np.isfinite(metrics["gradient_norm"])
    assert metrics["loss_scale"] < 2.0**40
    after = run.arrays()
    assert after["step"] == 30
    kernels = {name for name in after if name.startswith("vae/")}
    assert kernels <= differing(before, after)
    num_skipped = 30 - int(after["loss_scale/num_good_steps"])
    assert metrics["loss_scale"] == 2.0 ** (40 - num_skipped)
    # The records of a step depend only on the step, even if it is skipped.
    places = 2 * np.arange(BATCH_SIZE) + 1
    fingerprint = int((BATCH["record_id"] * places).sum())
    ledger = 0
    for _ in range(30):
        ledger = (ledger * 6364136223846793005 + fingerprint) % 2**64
    assert run.state.ledger_text() == f"{ledger:016x}"


def test_the_smallest_scale_that_overflows_ends_the_run() -> None:
    # Float16 ends at 65504. The gradient of an output is 1e8 * 2 / 192 times its error.
    run = make_small_run(
        precision="mixed_float16", pixel_weight=1e8, loss_reduction="sum"
    )
    assert run.state.loss_scale is not None
    run.state.loss_scale.scale.assign(2.0)
    before = run.arrays()
    metrics, can_go_on = run.train(5)
    assert np.isfinite(metrics["loss"])
    assert not np.isfinite(metrics["gradient_norm"])
    assert not can_go_on
    assert metrics["loss_scale"] == 1.0
    after = run.arrays()
    assert differing(before, after) == {"step", "ledger", "loss_scale/scale"}
    assert after["step"] == 1, "the step at a scale of 2 is skipped, the next ends it"


def test_a_loss_that_is_not_finite_ends_the_run_at_any_scale() -> None:
    run = make_small_run(precision="mixed_float16")
    run.train(1)
    before = run.arrays()
    _, can_go_on = run.train(5, factor=np.nan)
    assert not can_go_on
    assert differing(before, run.arrays()) == set()


def test_gradients_do_not_feel_the_loss_scale() -> None:
    # The first step has a learning rate of 0, so the test can repeat it.
    run = make_small_run(
        precision="mixed_float16", batch_norm=False, learning_rate_warmup_steps=10
    )
    assert run.state.loss_scale is not None
    metrics = []
    for scale in (2.0**8, 2.0**14):
        run.state.loss_scale.scale.assign(scale)
        run.state.step.assign(0)
        metrics.append(run.train(1)[0])
    assert metrics[0]["loss"] == metrics[1]["loss"]
    norms = [step["gradient_norm"] for step in metrics]
    assert norms[0] == pytest.approx(norms[1], rel=1e-2)


def test_the_weight_of_the_divergence_grows_with_the_steps_of_the_run() -> None:
    run = make_small_run(
        batch_norm=False, objective="elbo", beta=3.0, kl_warmup_steps=4
    )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        metrics, _ = run.train(1)
        expected = metrics["recon_nll"] + 3 * share * metrics["kl"]
        assert metrics["loss"] == pytest.approx(expected, rel=1e-6)


def test_an_evaluation_weighs_examples_and_sees_the_averaged_weights() -> None:
    run = make_small_run()
    state = run.state

    def evaluate(weight: np.ndarray) -> np.ndarray:
        batch = {**BATCH, "weight": weight.astype(np.float32)}
        terms, _ = run.steps.evaluate_batch(batch, tf.constant(0, tf.int64))
        return terms.numpy()

    alone = [evaluate(weight) for weight in np.eye(BATCH_SIZE)]
    assert len({term[0] for term in alone}) == BATCH_SIZE
    some = np.arange(BATCH_SIZE) % 3 > 0
    expected = np.sum([alone[place] for place in np.flatnonzero(some)], axis=0)
    np.testing.assert_allclose(evaluate(some), expected, rtol=1e-6)
    for variable in state.vae.trainable_variables:
        variable.assign(2 * variable + 1)
    np.testing.assert_array_equal(evaluate(np.eye(BATCH_SIZE)[0]), alone[0])
    for variable in state.ema_vae.trainable_variables:
        variable.assign(2 * variable + 1)
    assert (evaluate(np.eye(BATCH_SIZE)[0]) != alone[0]).any()


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_weight_that_is_not_finite_ends_the_run(part: str) -> None:
    # A fused ReLU turns NaN into 0, so the loss may be finite while no gradient is
    # finite.
    run = make_small_run()
    kernel = next(
        variable
        for variable in getattr(run.state.vae, part).trainable_variables
        if variable.shape.rank == 4
    )
    values = kernel.numpy().copy()
    values[0, 0, 0, 0] = np.nan
    kernel.assign(values)
    metrics, can_go_on = run.train(1)
    assert not can_go_on
    assert np.isnan(metrics["gradient_norm"])
    assert int(run.state.step.numpy()) == 0


def test_initial_weights_depend_on_the_seed_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread may draw from Python's generator, which Keras draws seeds from."""
    first = make_small_run().arrays()
    monkeypatch.setattr(keras.utils, "set_random_seed", lambda _: random.seed(7))
    second, other = (make_small_run(seed=seed).arrays() for seed in (0, 1))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    kernel = "vae/encoder/conv_0/kernel"
    assert (first[kernel] != other[kernel]).any()
