"""Flags of a training.

A command that imports this module defines these flags. `flags.adopt_module_key_flags`
lists them in the command's own `--help`, under the line above.
"""

from absl import flags
from ml_collections import config_flags

from pipeline.process import path_flags, variables
from trainer.numerics import threads

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment settings; --config.NAME=VALUE changes one."
)
flags.mark_flag_as_required("config")
DATASET = path_flags.define(
    "dataset", None, "Dataset directory, written by pipeline.prepare.", required=True
)
WORKDIR = path_flags.define(
    "workdir", None, "Directory of the run; an existing one is resumed.", required=True
)
NUM_GPUS = flags.DEFINE_integer(
    "num_gpus", None, "GPUs to train on; by default all, and the CPU without any."
)
VIRTUAL_DEVICES = flags.DEFINE_integer(
    "virtual_devices", None, "Splits the CPU into so many devices instead."
)
NUM_THREADS = flags.DEFINE_integer(
    "num_threads",
    threads.NUM_THREADS,
    "Threads by which a kernel on the CPU splits its work. Another number rounds "
    "otherwise, so a run keeps its number on every machine.",
)
KERNEL_VARIABLES = flags.DEFINE_multi_string(
    "kernel_variable",
    [],
    "NAME=VALUE: sets a variable that chooses kernels, such as XLA_FLAGS; repeatable. "
    "The environment's own value has no effect.",
)


@flags.validator("kernel_variable")
def _check_kernel_variables(texts: list[str]) -> bool:
    try:
        variables.parse(texts)
    except ValueError as error:
        raise flags.ValidationError(str(error)) from error
    return True


PROFILE_STEPS = flags.DEFINE_string(
    "profile_steps",
    None,
    "FIRST:LAST: profiles these steps, for TensorBoard; see docs/tensorboard.md.",
)
