"""Training from a dataset directory to a workdir, to be read from top to bottom."""

import contextlib
import dataclasses
import math
import pathlib
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from absl import logging
from ml_collections import ConfigDict

from pipeline.storage import locks, manifests
from trainer.data import input_pipeline
from trainer.distribution import strategies
from trainer.distribution.cluster import Cluster
from trainer.distribution.hosts import Hosts
from trainer.optimization.objectives import Objective, make_objective
from trainer.reporting import summaries
from trainer.reporting.run_writer import NoWriter, RunWriter
from trainer.runs import environment, setting_checks, settings, workdir
from trainer.runs import state as states
from trainer.runs.checkpoint_saver import Retention, Saver
from trainer.runs.trained import TrainedRun
from trainer.system.background import Background
from trainer.system.signals import StopRequest
from trainer.training import profiling, throughput
from trainer.training.cadence import Cadence
from trainer.training.monitor import Monitor
from trainer.training.progress import Progress
from trainer.training.steps import Steps

_CHECKPOINTS = "checkpoints"


class NonFiniteError(ArithmeticError):
    """A loss or gradient that is not finite; the text is for the user."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of a call of `train`.

    Attributes:
        step: Number of updates made in the run.
        stopped_by: Signal that ended the call early, or None.
    """

    step: int
    stopped_by: signal.Signals | None


def train(
    config: ConfigDict,
    dataset_dir: str,
    run_dir: pathlib.Path,
    strategy: tf.distribute.Strategy,
    cluster: Cluster | None = None,
    profile_steps: tuple[int, int] | None = None,
) -> Outcome:
    """Trains a VAE, or resumes the run in `run_dir`.

    Args:
        config: Settings, as in `configs/`.
        dataset_dir: Directory of the dataset, written by `pipeline.prepare`.
        run_dir: The workdir, the only place that training writes to.
        strategy: Strategy from `strategies.make_strategy`.
        cluster: Hosts that train together, or None for a single host. Every host makes
            this call; only the chief reads and writes `run_dir`.
        profile_steps: First and last step of a profile; see `profiling.Profiler`.

    Raises:
        ValueError: If a setting is wrong, the dataset is damaged
            (`contract.DatasetError`), the workdir belongs to another run, or all its
            checkpoints are damaged (`checkpoints.CheckpointError`).
        NonFiniteError: If a loss or a gradient is not finite. Such a step changes
            nothing, and the last checkpoint holds the state before the step.
        OSError: If the workdir cannot be written.
    """
    manifest = manifests.load_local(dataset_dir)
    hosts = Hosts(strategy, cluster)
    config = settings.resolve(config, strategy.num_replicas_in_sync)
    config = _resumed(config, run_dir, hosts)
    setting_checks.check_splits(config, manifest.splits)
    objective = make_objective(config, math.prod(manifest.image_shape))
    with strategy.scope():
        state = states.make_state(config, manifest)
    cadence = settings.select(config, Cadence)
    run = TrainedRun(config, manifest, dataset_dir, state.ema_vae, step=0)
    devices = environment.describe(strategy.extended.worker_devices)
    hosts.check_equal(
        f"{config.to_json()} {manifest.digest} {profile_steps} {devices['threads']}"
    )
    environment.warn_of_hosts(hosts.differing(str(devices)))
    lock, is_resumed = _open_workdir(run_dir, run, state, hosts, devices)
    step = int(state.step.numpy())
    run = dataclasses.replace(run, step=step)
    _log_start(run, objective)

    steps = Steps.of_run(strategy, state, objective, config, manifest.image_shape)
    batches = _training_batches(strategy, run)
    compiler = Background("compiler")
    # Hosts wait for each other inside compiled functions, so all hosts must run these
    # in the same order. Only a run on a single host can compile in the background.
    if cluster is None and step != config.num_train_steps:
        _start_compiling(compiler, steps, batches)
    monitor = Monitor(strategy, steps, run, draws=hosts.is_chief)

    def save(elbo: float | None = None) -> None:
        # Only the chief has the lock, and only the chief saves.
        if lock is not None:
            # Finish pictures first: a resumed run does not redraw earlier steps.
            writer.wait()
            workdir.check_held(run_dir, lock)
            evaluated = {} if elbo is None else {"elbo": elbo}
            origin = workdir.origin(config, manifest)
            saver.save(step, state.arrays(), {**origin, **evaluated})

    writer = NoWriter()
    if hosts.is_chief:
        writer = RunWriter(run_dir, last_step=step if is_resumed else -1)
    saver = Saver(
        run_dir / _CHECKPOINTS,
        Retention(
            config.keep_checkpoints,
            config.keep_best_checkpoints,
            config.keep_checkpoint_every_steps,
        ),
        before=writer.sync,
    )
    profiler = profiling.Profiler(
        profile_steps, run_dir / "train" if hosts.is_chief else None
    )
    with (
        lock or contextlib.nullcontext(),
        contextlib.closing(writer),
        contextlib.closing(saver),
        contextlib.closing(profiler),
        contextlib.closing(compiler),
        contextlib.closing(Progress(step, config.num_train_steps)) as progress,
        StopRequest() as stop,
    ):
        if not is_resumed:
            if hosts.is_chief:
                summaries.write_start(writer, run, objective)
            monitor.report(step, writer)
        compiler.wait()
        speed, saved_step, saved_at = throughput.Meter(), step, time.monotonic()
        stopped_by = elbo = None
        while step != config.num_train_steps:
            # All hosts stop together, and all make as many steps as the chief.
            stopped_by = next(filter(None, hosts.gather(stop.received or 0)), None)
            if stopped_by:
                break
            saver.check()
            chief_steps, *_ = hosts.gather(speed.steps_per_call)
            profiler.note(step)
            until_edge = profiler.steps_to_edge(step)
            num_steps = min(chief_steps, cadence.steps_to_next(step), *until_edge)
            values, can_go_on, wait_secs = steps.train(
                batches, tf.constant(num_steps, tf.int64)
            )
            num_done = int(state.step.numpy()) - step
            step += num_done
            if not can_go_on:
                save()
                raise _non_finite(step, steps.metric_names, values, run_dir)
            speed.record_call(num_done, float(wait_secs.numpy()))
            progress.update(step)
            if cadence.is_logged(step):
                rate = speed.take_rate()
                scalars = {
                    **_finite_scalars(steps.metric_names, values),
                    "learning_rate": float(state.optimizer.learning_rate.numpy()),
                    "beta": float(objective.kl_weight(step - 1)),
                    **summaries.memory_mib(),
                    **_speed_scalars(rate, config.global_batch_size),
                }
                writer.write_scalars(step, "train", scalars, ledger=state.ledger_text())
                progress.log(step, scalars, rate)
            elbo = monitor.report(step, writer)
            if (
                time.monotonic() - saved_at >= config.checkpoint_every_secs
                or cadence.is_kept(step)
                or saver.is_among_best(elbo)
            ):
                save(elbo)
                saved_step, saved_at = step, time.monotonic()
            speed.skip()
        if step != saved_step:
            save(elbo)
        saver.wait()
        # Wait for the chief: a host that left earlier would end the cluster, and so
        # cut off the chief's last checkpoint.
        hosts.wait()
    return Outcome(step, signal.Signals(stopped_by) if stopped_by else None)


def _resumed(config: ConfigDict, run_dir: pathlib.Path, hosts: Hosts) -> ConfigDict:
    """Returns the settings on all hosts, with the values that the chief's run keeps."""
    shared = workdir.resumed(run_dir, config) if hosts.is_chief else config
    resumed = config.copy_and_resolve_references()
    for name, default in settings.NEW_DEFAULTS.items():
        resumed[name] = type(default)(hosts.gather(shared[name])[0])
        if resumed[name] != config[name]:
            logging.info("this run keeps its setting %s=%s", name, resumed[name])
    return resumed


def _open_workdir(
    run_dir: pathlib.Path,
    run: TrainedRun,
    state: states.State,
    hosts: Hosts,
    devices: Mapping[str, Any],
) -> tuple[locks.DirectoryLock | None, bool]:
    """Restores the newest checkpoint on all hosts, or leaves the state at step 0.

    Args:
        run_dir: The workdir; the chief locks it.
        run: Settings and dataset of the run.
        state: State to restore.
        hosts: Hosts that train together.
        devices: Environment that the chief records, from `environment.describe`.

    Returns:
        The lock on the chief, None on other hosts; and whether the run is resumed.
    """
    lock, is_resumed = None, False
    if hosts.is_chief:
        lock = workdir.acquire(run_dir, run.config, run.manifest, run.dataset_dir)
        origin = workdir.origin(run.config, run.manifest)
        is_resumed = states.restore(
            state, run_dir / _CHECKPOINTS, origin, is_owner=True
        )
        environment.record(run_dir, devices, is_resumed=is_resumed)
    # All hosts take the chief's value. Otherwise some hosts would run the evaluation of
    # step 0, and wait in it for the others.
    is_resumed = bool(hosts.gather(is_resumed)[0])
    states.share(state, hosts)
    return lock, is_resumed


def _training_batches(strategy: tf.distribute.Strategy, run: TrainedRun) -> Iterator:
    config, conditioning = run.config, run.conditioning
    return strategies.iterate(
        strategy,
        lambda context: input_pipeline.training_batches(
            run.manifest,
            run.dataset_dir,
            config.train_split,
            seed=config.seed,
            global_batch_size=config.global_batch_size,
            block_size=config.shuffle_block_size,
            start_step=run.step,
            context=context,
            features=conditioning.features,
            check=conditioning.check_labels,
            reader=config.reader,
        ),
    )


def _start_compiling(compiler: Background, steps: Steps, batches: Iterator) -> None:
    """Traces the training step, then starts to compile its graph in the background.

    The compilation takes about as long as the tracing but does not block Python, so the
    first evaluation and pictures are made meanwhile. Two functions are never traced at
    once, because replicas could then name their collectives differently.
    """
    steps.trace(batches)
    compiler.start(steps.train, batches, tf.constant(0, tf.int64))


def _finite_scalars(names: list[str], values: tf.Tensor) -> dict[str, float]:
    """Returns the finite metrics by name; a skipped step has no gradient norm."""
    pairs = zip(names, values.numpy().tolist(), strict=True)
    return {name: value for name, value in pairs if math.isfinite(value)}


def _speed_scalars(
    rate: throughput.Rate | None, global_batch_size: int
) -> dict[str, float]:
    if rate is None:
        return {}
    return {
        "images_per_second": rate.steps_per_second * global_batch_size,
        "data_wait_percent": 100 * rate.data_wait_share,
    }


def _log_start(run: TrainedRun, objective: Objective) -> None:
    config, splits = run.config, run.manifest.splits.items()
    logging.info(
        "dataset %s; examples: %s; digest: %s",
        run.dataset_dir,
        ", ".join(f"{name} {split.num_examples}" for name, split in splits),
        run.manifest.digest,
    )
    logging.info("%s", objective.describe())
    logging.info(
        "%s; last step: %s; examples per step: %d; groups per step: %d",
        f"resuming at step {run.step}" if run.step else "starting at step 0",
        "none" if config.num_train_steps == -1 else config.num_train_steps,
        config.global_batch_size,
        config.num_batch_groups,
    )
    check_step(run.step, config)


def check_step(step: int, config: ConfigDict) -> None:
    """Checks that `step` is not beyond the end of the run.

    Raises:
        ValueError: If `step` is beyond `num_train_steps`.
    """
    if config.num_train_steps != -1 and step > config.num_train_steps:
        raise ValueError(
            f"the run is at step {step}, beyond "
            f"config.num_train_steps={config.num_train_steps}: raise the setting to "
            "go on"
        )


def _non_finite(
    step: int, names: list[str], values: tf.Tensor, run_dir: pathlib.Path
) -> NonFiniteError:
    metrics = ", ".join(
        f"{name} {value}"
        for name, value in zip(names, values.numpy(), strict=True)
        if not math.isfinite(value)
    )
    return NonFiniteError(
        f"step {step + 1} is not finite ({metrics}). The step changed nothing: the "
        f"state of step {step} is in {run_dir / _CHECKPOINTS}. Lower "
        "`config.learning_rate` in a new `workdir`, or check the dataset with "
        "pipeline.verify"
    )
