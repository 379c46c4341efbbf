"""Compares estimates with an actual run."""

import pytest
from safetensors.numpy import load_file

from configs import celeba_debug
from pipeline import contract
from tests.trainer.trained_runs import Run
from trainer.operations import estimates
from trainer.runs import settings, state
from trainer.system import machine


def test_a_run_leaves_no_more_than_was_estimated(
    reference_run: Run, dataset_dir
) -> None:
    config = celeba_debug.get_config()
    config.update(log_every_steps=1, image_every_steps=25, eval_every_steps=25)
    resolved = settings.resolve(config, 1)
    fresh = state.make_state(resolved, contract.load_manifest(dataset_dir))
    arrays = load_file(
        reference_run.workdir / "checkpoints/step-000000050/state.safetensors"
    )
    assert estimates.state_bytes(fresh) == sum(a.nbytes for a in arrays.values())
    disk = estimates.disk(fresh, resolved, 50, 32 * 32 * 3)
    assert disk.checkpoints == 4 * estimates.state_bytes(fresh)
    pictures = machine.size_of(reference_run.workdir / "images/reconstruction")
    pictures += machine.size_of(reference_run.workdir / "images/samples")
    pictures += machine.size_of(reference_run.workdir / "eval")
    assert pictures < disk.pictures
    scalars = machine.size_of(reference_run.workdir / "train")
    scalars += (reference_run.workdir / "metrics.jsonl").stat().st_size
    assert scalars < 2 * disk.scalars, "the text of the config is there, too"
    assert machine.size_of(reference_run.workdir) < disk.total


@pytest.mark.slow
def test_a_step_takes_more_with_a_larger_batch_and_less_in_slices(dataset_dir) -> None:
    def step_bytes(**values: object) -> int:
        config = celeba_debug.get_config()
        config.update(values)
        resolved = settings.resolve(config, 1)
        fresh = state.make_state(resolved, contract.load_manifest(dataset_dir))
        return estimates.step_bytes(fresh, resolved, 1, 32 * 32 * 3)

    small, large = step_bytes(global_batch_size=16), step_bytes(global_batch_size=128)
    sliced = step_bytes(global_batch_size=128, gradient_accumulation_steps=4)
    halved = step_bytes(global_batch_size=128, precision="mixed_bfloat16")
    drawn = step_bytes(
        global_batch_size=128, objective="elbo", num_importance_samples=5
    )
    assert small < sliced < large < drawn
    assert halved < large
