"""Reports during training: evaluations, and pictures of the model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging
from ml_collections import ConfigDict

from pipeline import contract
from trainer.data import input_pipeline, splits
from trainer.data.corruption import fixed_targets_and_inputs
from trainer.reporting import sample_grids, summaries
from trainer.reporting.run_writer import RunWriter
from trainer.runs import settings
from trainer.runs.trained import TrainedRun
from trainer.training.cadence import Cadence
from trainer.training.steps import Steps
from trainer.training.validation import Evaluator

# Grids that stand side by side in a row of the strip.
STRIP_GRIDS = ("latents/scatter", "samples/sampled")


class Monitor:
    """Evaluates a model and draws its pictures, at the run's cadence."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        steps: Steps,
        run: TrainedRun,
        draws: bool,
    ) -> None:
        """Opens the evaluated split.

        Args:
            strategy: Strategy from `strategies.make_strategy`.
            steps: Compiled steps, which evaluate a batch.
            run: Run with the averaged model, whose weights change during training.
            draws: Whether this host draws the pictures; True on the chief.

        Raises:
            contract.DatasetError: If the split is empty, or a shard is missing or
                truncated.
        """
        config = run.config
        self._run, self._draws = run, draws
        self._cadence = settings.select(config, Cadence)
        self._evaluator = Evaluator(
            strategy,
            steps,
            run.manifest,
            run.dataset_dir,
            config.eval_split,
            global_batch_size=config.global_batch_size,
            conditioning=run.conditioning,
        )
        self._shown = _shown(run)

    def report(self, step: int, writer: RunWriter) -> float | None:
        """Evaluates and draws if the step is due; every host must make this call.

        Returns:
            ELBO in nats per example, or None if the step has no evaluation.
        """
        run = dataclasses.replace(self._run, step=step)
        is_evaluated = self._cadence.is_evaluated(step)
        is_pictured = self._cadence.is_pictured(step)
        if is_evaluated or is_pictured:
            writer.wait()
        elbo = self._evaluate(run, writer) if is_evaluated else None
        if self._draws and is_pictured:
            self._draw(run, writer)
        return elbo

    def _evaluate(self, run: TrainedRun, writer: RunWriter) -> float:
        config, evaluation = run.config, self._evaluator.evaluate()
        scalars = evaluation.scalars
        is_last = run.step == config.num_train_steps
        if self._draws and config.show_neighbours and is_last:
            grid, ratio = summaries.draw_neighbours(run, self._shown)
            writer.write_grids(run.step, {"samples/neighbours": grid})
            scalars |= {} if ratio is None else {"memorisation_ratio": ratio}
        writer.write_scalars(run.step, config.eval_split, scalars)
        writer.write_histogram(run.step, "latents/kl", evaluation.kl_per_latent)
        writer.write_latents(run)
        logging.info("%s", eval_text(run.step, scalars, run.manifest, config))
        return scalars["elbo"]

    def _draw(self, run: TrainedRun, writer: RunWriter) -> None:
        computed = sample_grids.compute_grids(
            run.vae,
            self._shown,
            seed=run.config.seed,
            num_traversals=run.config.num_picture_traversals,
            draws_reconstructions=run.config.reconstruction_draw == "sample",
        )
        strip = STRIP_GRIDS if run.config.show_strip else ()
        writer.start_pictures(run.step, computed, strip)


def eval_text(
    step: int,
    scalars: Mapping[str, float],
    manifest: contract.Manifest,
    config: ConfigDict,
) -> str:
    """Returns the line of an evaluation in the format `config.eval_line`.

    Raises:
        ValueError: If the format is invalid or names an unknown value.
    """
    num_examples = splits.num_examples(manifest, config.train_split)
    # The evaluation of step 0 has the number 0.
    values = {
        "step": step,
        "epoch": step * config.global_batch_size / num_examples,
        "evaluation": -(-step // config.eval_every_steps),
        "split": config.eval_split,
    }
    try:
        return config.eval_line.format(**values, **scalars)
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(
            f"config.eval_line={config.eval_line!r} cannot be filled in "
            f"({error!r}): its allowed names are {', '.join([*values, *scalars])}"
        ) from error


def _shown(run: TrainedRun) -> sample_grids.Shown:
    """Returns the examples of the evaluated split that the pictures show."""
    config, conditioning = run.config, run.conditioning

    def read(num: int) -> tuple[Any, ...]:
        batch = input_pipeline.first_examples(
            run.manifest, run.dataset_dir, config.eval_split, num
        )
        small = {name: batch[name].numpy() for name in conditioning.features}
        conditioning.check_labels(small)
        targets, inputs = fixed_targets_and_inputs(
            batch["image"], run.corruption, config.seed
        )
        conditions = conditioning.vectors(batch)
        labels = batch["label"].numpy() if "label" in batch else None
        return targets.numpy(), inputs.numpy(), conditions.numpy(), labels

    *compared, conditions, _ = read(config.num_picture_pairs)
    for_samples = conditioning.sample_vectors(config.num_picture_samples, conditions)
    shown = sample_grids.Shown(*compared, conditions, for_samples)
    if not config.show_latents:
        return shown
    _, inputs, conditions, labels = read(sample_grids.MAX_SCATTERED)
    return dataclasses.replace(shown, scattered=(inputs, conditions), labels=labels)
