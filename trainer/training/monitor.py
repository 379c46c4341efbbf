"""What a run shows of itself on its way: evaluations, and pictures of its model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging
from ml_collections import ConfigDict

from pipeline import contract
from trainer.data import corruption, input_pipeline, splits
from trainer.models import conditions
from trainer.reporting import sample_grids, summaries
from trainer.reporting.run_writer import RunWriter
from trainer.runs.trained import TrainedRun
from trainer.training import cadence
from trainer.training.steps import Steps
from trainer.training.validation import Evaluator

# Side by side in a row of the strip.
STRIP_GRIDS = ("latents/scatter", "samples/sampled")


class Monitor:
    """Evaluates and draws a model at the steps for which its settings ask."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        steps: Steps,
        run: TrainedRun,
        draws: bool,
    ) -> None:
        """Opens the split that is evaluated.

        Args:
            strategy: From `strategies.make_strategy`.
            steps: Which evaluate a batch.
            run: With the averaged model, whose weights change as training goes on.
            draws: Whether this host makes the pictures, as the chief does.

        Raises:
            contract.DatasetError: If the split is empty, or a shard is missing or cut.
        """
        config, split = run.config, run.config.eval_split
        self._run, self._draws = run, draws
        self._evaluator = Evaluator(
            strategy, steps, run.manifest, run.dataset_dir, config, split
        )
        self._shown = _shown(run.manifest, run.dataset_dir, config)

    def look(self, step: int, writer: RunWriter) -> float | None:
        """Makes what is due at a step, and writes it; each host of a cluster does.

        Returns:
            The ELBO, if it was evaluated, in nats.
        """
        run, config = dataclasses.replace(self._run, step=step), self._run.config
        is_evaluated = cadence.is_due(step, config.eval_every_steps, config)
        is_drawn = cadence.is_due(step, config.image_every_steps, config)
        if is_evaluated or is_drawn:
            writer.wait()
        elbo = self._evaluate(run, writer) if is_evaluated else None
        if self._draws and is_drawn:
            self._draw(run, writer)
        return elbo

    def _evaluate(self, run: TrainedRun, writer: RunWriter) -> float:
        config, found = run.config, self._evaluator.evaluate()
        scalars = found.scalars
        is_last = run.step == config.num_train_steps
        if self._draws and config.show_neighbours and is_last:
            grid, ratio = summaries.draw_neighbours(run, self._shown)
            writer.write_grids(run.step, {"samples/neighbours": grid})
            scalars |= {} if ratio is None else {"memorisation_ratio": ratio}
        writer.write_scalars(run.step, config.eval_split, scalars)
        writer.write_histogram(run.step, "latents/kl", found.kl_per_latent)
        writer.write_latents(run)
        logging.info("%s", eval_text(run.step, scalars, run.manifest, config))
        return scalars["elbo"]

    def _draw(self, run: TrainedRun, writer: RunWriter) -> None:
        computed = sample_grids.compute_grids(run.vae, self._shown, run.config)
        strip = STRIP_GRIDS if run.config.show_strip else ()
        writer.start_pictures(run.step, computed, strip)


def eval_text(
    step: int,
    scalars: Mapping[str, float],
    manifest: contract.Manifest,
    config: ConfigDict,
) -> str:
    """Returns the line of an evaluation, as `config.eval_line` wants it.

    Raises:
        ValueError: If that names what there is not.
    """
    num_examples = splits.num_examples(manifest, config.train_split)
    epoch = step * config.global_batch_size / num_examples
    try:
        return config.eval_line.format(
            step=step, epoch=epoch, split=config.eval_split, **scalars
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(
            f"--config.eval_line={config.eval_line!r} cannot be filled in ({error!r}): "
            f"it may name step, epoch, split, {', '.join(scalars)}"
        ) from error


def _shown(
    manifest: contract.Manifest, dataset_dir: str, config: ConfigDict
) -> sample_grids.Shown:
    """Returns the examples of the evaluated split that the pictures show."""

    def read(num: int) -> tuple[Any, ...]:
        batch = input_pipeline.first_examples(
            manifest, dataset_dir, config.eval_split, num
        )
        small = {name: batch[name].numpy() for name in conditions.features(config)}
        conditions.check_labels(small, config)
        targets, inputs = corruption.fixed_targets_and_inputs(batch["image"], config)
        told = conditions.of_batch(batch, config)
        labels = batch["label"].numpy() if "label" in batch else None
        return targets.numpy(), inputs.numpy(), told.numpy(), labels

    *compared, _ = read(config.num_picture_pairs)
    shown = sample_grids.Shown(*compared)
    if not config.show_latents:
        return shown
    _, inputs, told, labels = read(sample_grids.MAX_SCATTERED)
    return dataclasses.replace(shown, scattered=(inputs, told), labels=labels)
