"""Checks whether a training would start and go on, and writes nothing.

    python -m trainer.doctor --config=configs/celeba.py --dataset=DIR --workdir=DIR

Takes the flags of trainer.train, and prints one line for each check: `ok`, `warn` for a
setting that may be intended, or `fail`. It makes no training step.

Exit codes: 0 no check failed; 1 a check failed.
"""

import pathlib
import sys

from absl import flags, logging

from pipeline.process import arguments, entry
from trainer.cli import command_line, train_flags
from trainer.operations import checks
from trainer.system import libraries

_FULL = flags.DEFINE_bool(
    "full", False, "Read all shards, and compare them with the hashes in the manifest."
)
flags.adopt_module_key_flags(train_flags)


def main(argv: list[str]) -> None:
    """Checks the training that the flags describe."""
    del argv
    libraries.load_tensorflow(train_flags.KERNEL_VARIABLES.value)
    from trainer.operations.diagnosis import Diagnosis

    diagnosis = Diagnosis(
        train_flags.CONFIG.value,
        train_flags.DATASET.value,
        pathlib.Path(train_flags.WORKDIR.value),
        train_flags.NUM_GPUS.value,
        train_flags.VIRTUAL_DEVICES.value,
        is_full=_FULL.value,
    )
    num_failed = 0
    for finding in checks.make_all(diagnosis.checks()):
        print(arguments.in_command(str(finding)), flush=True)
        num_failed += finding.status == "fail"
    sys.exit(1 if num_failed else 0)


if __name__ == "__main__":
    logging.set_verbosity(logging.ERROR)
    entry.run(main, flags_parser=command_line.parse_flags)
