"""Flags of a training.

A command that imports this module defines these flags. `flags.adopt_module_key_flags`
lists them in the command's own `--help`, under the first line of this docstring.
"""

from absl import flags
from ml_collections import config_flags

from pipeline.process import path_flags, variables
from trainer.numerics import threads

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Python file of experiment settings, or the name of a packaged one, such as "
    "celeba; --config.NAME=VALUE changes one setting.",
)
flags.mark_flag_as_required("config")
DATASET = path_flags.define(
    "dataset",
    None,
    "Directory of the dataset, written by pipeline.prepare.",
    required=True,
)
WORKDIR = path_flags.define(
    "workdir", None, "Directory of the run; an existing run is resumed.", required=True
)
NUM_GPUS = flags.DEFINE_integer(
    "num_gpus",
    None,
    "Number of GPUs to train on; by default all GPUs, or the CPU if there is no GPU.",
)
VIRTUAL_DEVICES = flags.DEFINE_integer(
    "virtual_devices",
    None,
    "Number of virtual CPU devices to train on, instead of GPUs.",
)
NUM_THREADS = flags.DEFINE_integer(
    "num_threads",
    threads.NUM_THREADS,
    "CPU threads per operation. The number affects the rounding of results, so a run "
    "keeps the same number on every machine.",
)
KERNEL_VARIABLES = flags.DEFINE_multi_string(
    "kernel_variable",
    [],
    "Variable that chooses kernels, such as XLA_FLAGS, as NAME=VALUE. The value of "
    "this variable in the environment has no effect.",
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
    "Steps to profile for TensorBoard, as FIRST:LAST; see docs/tensorboard.md.",
)
