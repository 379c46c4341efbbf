"""Preflight checks of a training, for trainer.doctor."""

import functools
import math
import os
import pathlib
import shutil

import tensorflow as tf
from ml_collections import ConfigDict

from pipeline import contract
from pipeline.process import wording
from pipeline.storage import manifests
from trainer.data import splits
from trainer.distribution import cluster, hosts, strategies
from trainer.operations import estimates, package_names
from trainer.operations.checks import Check, DoubtError
from trainer.optimization import objectives
from trainer.runs import checkpoints, environment, setting_checks, settings, workdir
from trainer.runs import state as states
from trainer.system import machine, versions
from trainer.training import forward, loop, monitor

_TENSORBOARD_PORT = 6006
_CHIEFS = "only the chief, host 0, checks this"
# Folders that a run writes in its workdir; another user may have created them before.
_FOLDERS = ("checkpoints", "train", "eval", "images")


class Diagnosis:
    """Preflight checks of everything that a training needs.

    The methods call the checks that the training itself makes.
    """

    def __init__(
        self,
        config: ConfigDict,
        dataset_dir: str,
        run_dir: pathlib.Path,
        num_gpus: int | None = None,
        virtual_devices: int | None = None,
        *,
        is_full: bool = False,
    ) -> None:
        """Stores the arguments, which are as for `loop.train`; checks nothing yet.

        Args:
            config: Settings, as in `configs/`.
            dataset_dir: Directory of the dataset, written by `pipeline.prepare`.
            run_dir: The workdir; it need not exist.
            num_gpus: Number of GPUs, as for `strategies.make_strategy`.
            virtual_devices: Number of virtual devices, as for
                `strategies.make_strategy`.
            is_full: Whether to read all shards.
        """
        self._config = settings.completed(config)
        self._dataset_dir = dataset_dir
        self._run_dir = run_dir
        self._num_devices_flags = num_gpus, virtual_devices
        self._is_full = is_full
        self._cluster: cluster.Cluster | None = None

    def checks(self) -> list[Check]:
        """Returns all checks, in the order that a training needs their results."""
        data, run = f"dataset={self._dataset_dir}", f"workdir={self._run_dir}"
        settled = ("settings", "batch", "dataset")
        return [
            Check("versions", versions.check),
            Check("names", package_names.check),
            *self._environment_checks(),
            Check("hosts", self._check_hosts),
            Check("addresses", self._check_addresses, ("hosts",)),
            Check("devices", self._check_devices),
            Check("dataset", self._check_dataset, (), data),
            Check("shards", self._check_shards, ("dataset",), data),
            Check("settings", self._check_settings),
            Check("batch", self._check_batch, ("hosts",)),
            Check("model", self._check_model, settled),
            Check("evaluation", self._check_evaluation, ("model", "shards")),
            Check("memory", self._check_memory, ("model", "devices")),
            Check("workdir", self._check_workdir, settled, run),
            Check("checkpoints", self._check_checkpoints, ("model", "workdir"), run),
            Check("permission", self._check_permission, ("hosts",), run),
            Check("disk", self._check_disk, ("model",), run),
            Check("tensorboard", self._check_tensorboard),
        ]

    def _environment_checks(self) -> list[Check]:
        """Returns a warning for each variable or file that is overridden."""

        def doubt(phrase: str) -> str:
            raise DoubtError(phrase)

        return [
            Check("environment", functools.partial(doubt, phrase))
            for phrase in environment.phrases()
        ] or [
            Check(
                "environment",
                lambda: "no variable or file changes the results of a run",
            )
        ]

    def _check_hosts(self) -> str:
        self._cluster = all_hosts = cluster.find_cluster(os.environ)
        self._num_hosts = len(all_hosts.addresses) if all_hosts else 1
        return cluster.describe(all_hosts).removeprefix("hosts: ")

    def _check_addresses(self) -> str:
        all_hosts = self._cluster
        if all_hosts is None:
            return "not needed, because no other host takes part"
        with hosts.listening(all_hosts):
            pass
        unknown = hosts.unknown_names(all_hosts)
        if unknown:
            raise ValueError(
                f"no such host: {', '.join(unknown)}: correct {all_hosts.source}, or "
                "start the hosts before the training stops waiting for them"
            )
        return f"the port of {all_hosts.address} is free, and all host names resolve"

    def _check_devices(self) -> str:
        gpus = tf.config.list_physical_devices("GPU")
        # Count the requested devices first: later checks need a count even if
        # `choose_devices` fails.
        num_gpus, virtual_devices = self._num_devices_flags
        self._num_devices = max(1, virtual_devices or num_gpus or len(gpus))
        self._devices = strategies.choose_devices(num_gpus, virtual_devices)
        self._num_devices = len(self._devices)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        limit = f" (CUDA_VISIBLE_DEVICES={visible})" if visible is not None else ""
        text = (
            f"{', '.join(self._devices)}; GPUs that TensorFlow sees: {len(gpus)}{limit}"
        )
        # Hide the GPUs from the model that these checks build.
        tf.config.set_visible_devices([], "GPU")
        if strategies.is_gpu(self._devices):
            strategies.check_memory_fraction(self._config.gpu_memory_fraction)
        elif self._num_devices_flags == (None, None) and shutil.which("nvidia-smi"):
            raise DoubtError(
                f"{text}, although this machine has nvidia-smi: the training will use "
                "the CPU; for GPUs, try pip install '.[gpu]' in the checkout; for the "
                "CPU, give num_gpus=0"
            )
        return text

    def _check_dataset(self) -> str:
        self._manifest = manifests.load_local(self._dataset_dir)
        counts = [
            f"{name} {split.num_examples}"
            for name, split in self._manifest.splits.items()
        ]
        return (
            f"examples: {', '.join(counts)}; image shape: "
            f"{' x '.join(map(str, self._manifest.image_shape))}; digest: "
            f"{self._manifest.digest}"
        )

    def _check_shards(self) -> str:
        counts = []
        for name in ("train_split", "eval_split"):
            split = self._config[name]
            try:
                shards = splits.shards_of(self._manifest, self._dataset_dir, split)
                for part in split.split("+") if self._is_full else ():
                    splits.check_shard_hashes(self._manifest, self._dataset_dir, part)
            except contract.DatasetError as error:
                raise ValueError(f"config.{name}={split}: {error}") from error
            counts.append(f"{split} {len(shards)}")
        checked = (
            "sizes and sha256"
            if self._is_full
            else "sizes (with `full=True`, sha256 too)"
        )
        return f"{', '.join(counts)}; the manifest confirms their {checked}"

    def _check_settings(self) -> str:
        setting_checks.check(self._config)
        return f"all {len(self._config)} settings are in their allowed ranges"

    def _check_batch(self) -> str:
        self._num_replicas = self._num_devices * self._num_hosts
        self._resolved = config = settings.settle_batch(
            self._config, self._num_replicas
        )
        return (
            f"examples: {config.global_batch_size}, groups: "
            f"{config.num_batch_groups}, replicas: {self._num_replicas}, hosts: "
            f"{self._num_hosts}"
        )

    def _check_model(self) -> str:
        # `_check_batch` settled only the batch; this resolves all settings.
        self._resolved = config = settings.resolve(self._config, self._num_replicas)
        image_shape = self._manifest.image_shape
        objective = objectives.make_objective(config, math.prod(image_shape))
        self._state = state = states.make_state(config, self._manifest)
        self._terms = forward.make_forward(
            objective, state.vae, image_shape, config
        ).term_names
        num_weights = sum(math.prod(var.shape) for var in state.vae.trainable_variables)
        return f"{num_weights:,} weights; {objective.describe()}"

    def _check_evaluation(self) -> str:
        scalars = dict.fromkeys(self._terms, 0.0)
        text = monitor.eval_text(0, scalars, self._manifest, self._resolved)
        return f"an evaluation logs a line such as: {text}"

    def _check_memory(self) -> str:
        state_bytes = estimates.state_bytes(self._state)
        step_bytes = estimates.step_bytes(
            self._state,
            self._resolved,
            self._num_replicas,
            math.prod(self._manifest.image_shape),
        )
        if not strategies.is_gpu(self._devices):
            # The machine's memory holds all replicas, and a copy for the checkpoint.
            num_states = self._num_devices + 1
            step_bytes = self._num_devices * step_bytes + machine.used_bytes()
            available, place = machine.memory_bytes(), "this machine"
        elif shutil.which("nvidia-smi"):
            num_states, place = 1, "a GPU"
            smallest = min(strategies.gpu_memory_mib()[: self._num_devices]) << 20
            available = int(smallest * self._config.gpu_memory_fraction)
        else:
            raise DoubtError("unknown, because nvidia-smi is not on the PATH")
        needed = num_states * state_bytes + step_bytes
        text = (
            f"{wording.size(state_bytes)} per replica for weights, averages and "
            f"optimizer; about {wording.size(needed)} in total with a training "
            f"step; {place} has {wording.size(available)}"
        )
        if num_states * state_bytes > available:
            raise ValueError(f"{text}: lower `config.latent_dim` or the layers' sizes")
        if needed > available:
            raise DoubtError(
                f"{text}: lower `config.global_batch_size` or "
                "`config.per_replica_batch_size`, or raise "
                "`config.gradient_accumulation_steps`"
            )
        return text

    def _check_workdir(self) -> str:
        if not self._is_chief:
            return _CHIEFS
        resolved = settings.resolve(self._config, self._num_replicas)
        workdir.check(self._run_dir, resolved, self._manifest)
        has_run = (self._run_dir / workdir.CONFIG_NAME).exists()
        return (
            "holds this run, which will resume"
            if has_run
            else "holds no run yet; the run will begin at step 0"
        )

    def _check_checkpoints(self) -> str:
        directory = self._run_dir / "checkpoints"
        if not self._is_chief:
            return _CHIEFS
        config = workdir.resumed(self._run_dir, self._resolved)
        origin = workdir.origin(config, self._manifest)
        if not states.restore(self._state, directory, origin):
            return "none"
        step = int(self._state.step.numpy())
        loop.check_step(step, self._resolved)
        text = f"the run will resume at step {step}"
        newest, *_ = checkpoints.list_newest_first(directory)
        if checkpoints.step_of(newest) != step:
            raise DoubtError(f"{newest} is damaged, so {text}")
        return text

    def _check_permission(self) -> str:
        if not self._is_chief:
            return _CHIEFS
        for path in (self._run_dir, *(self._run_dir / name for name in _FOLDERS)):
            machine.check_writable(path)
        return "can be written"

    def _check_disk(self) -> str:
        if not self._is_chief:
            return _CHIEFS
        config = self._resolved
        is_endless = config.num_train_steps == -1
        num_steps = 1_000_000 if is_endless else config.num_train_steps
        needed = estimates.disk(
            self._state, config, num_steps, math.prod(self._manifest.image_shape)
        )
        free = machine.free_disk_bytes(self._run_dir)
        existing = machine.size_of(self._run_dir)
        text = (
            f"at most {wording.size(needed.checkpoints)} of checkpoints, "
            f"{wording.size(needed.pictures)} of pictures and "
            f"{wording.size(needed.scalars)} of "
            f"scalars{' after a million steps' if is_endless else ''}; the workdir "
            f"already has {wording.size(existing)}; the disk has "
            f"{wording.size(free)} free"
        )
        remedy = (
            ": lower `config.keep_checkpoints`, or raise `config.image_every_steps` or "
            "`config.keep_checkpoint_every_steps`, or choose another `workdir`"
        )
        # Two checkpoints must fit: an old one is removed after the new one is complete.
        if 2 * estimates.state_bytes(self._state) > free + existing:
            raise ValueError(text + remedy)
        if needed.total > free + existing:
            raise DoubtError(text + remedy)
        return text

    def _check_tensorboard(self) -> str:
        if machine.is_port_free(_TENSORBOARD_PORT):
            return f"port {_TENSORBOARD_PORT} is free"
        raise DoubtError(
            f"port {_TENSORBOARD_PORT} is in use, perhaps by another TensorBoard: "
            "give trainer.tensorboard another `port`"
        )

    @property
    def _is_chief(self) -> bool:
        return self._cluster is None or self._cluster.is_chief
