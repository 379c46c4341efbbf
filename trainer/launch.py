r"""Trains on this machine under supervision, in one or several processes.

    python -m trainer.launch --num_processes=2 --config=configs/celeba.py \
        --dataset=DIR --workdir=DIR

All flags that are not listed below go to trainer.train. Several processes are the hosts
of a cluster on this machine. With one process, as in a container, the environment
describes the cluster. When a process dies, the launcher stops the other processes, and
restarts all of them from the last checkpoint.

Exit codes: as trainer.train.
"""

import sys
from collections.abc import Sequence

from absl import flags, logging

from pipeline.process import entry
from trainer.system import supervisor

_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    1,
    "Number of processes that train together on this machine.",
    lower_bound=1,
)
_MAX_RESTARTS = flags.DEFINE_integer(
    "max_restarts",
    3,
    "Number of times that all processes restart after one of them died.",
    lower_bound=0,
)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Returns the program name and the flags of trainer.train from the command line."""
    try:
        return flags.FLAGS(list(argv), known_only=True)
    except flags.Error as error:
        entry.refuse(error)


def main(argv: list[str]) -> None:
    """Supervises the training that the flags describe."""
    sys.exit(supervisor.supervise(_NUM_PROCESSES.value, _MAX_RESTARTS.value, argv[1:]))


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=parse_flags)
