r"""Trains one run for every combination of some settings' values.

    python -m trainer.sweep --config=configs/celeba.py --dataset=DIR --workdir=DIR \
        --sweep=latent_dim=2,8,32 --sweep=learning_rate=1e-3,3e-4

Each run is a trainer.train in its own folder of the workdir. The folder is named after
the run's values, and its train.log holds the run's output. All flags that are not
listed below go to every run. The same command resumes a stopped sweep. At the end,
results.csv and results.md compare the runs.

Exit codes: 0 all runs are done; 1 a setting, file or flag is wrong, or a run failed;
128 + signal when a signal stopped the sweep, after a checkpoint of each run.
"""

import os
import pathlib
import signal
import sys
from collections.abc import Sequence

from absl import flags, logging

from pipeline.process import entry, path_flags
from trainer.cli import command_line, config_files, train_flags
from trainer.system import libraries

_SWEEP = flags.DEFINE_multi_string(
    "sweep",
    None,
    "Setting of the config and its values to try, as NAME=VALUE,VALUE,... where a "
    "comma inside parentheses separates no values. Several --sweep flags try every "
    "combination.",
    required=True,
)
_PARALLEL = flags.DEFINE_integer(
    "parallel", 1, "Number of runs that train at the same time.", lower_bound=1
)
flags.adopt_module_key_flags(train_flags)

# Include the help flags, or a missing required flag would hide the help.
_HELP_FLAGS = ("help", "helpshort", "helpfull", "helpxml")


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; returns the program name and the flags for every run."""
    own = flags.FlagValues()
    for name in (_SWEEP.name, _PARALLEL.name, train_flags.WORKDIR.name, *_HELP_FLAGS):
        own[name] = flags.FLAGS[name]
    try:
        argv = config_files.expanded(argv)
        program, *others = own(list(argv), known_only=True)
    except (flags.Error, ValueError) as error:
        entry.refuse(error)
    # Refuse errors in the other flags now, before a run starts.
    command_line.parse_flags([program, *others])
    return [program, *others]


def main(argv: list[str]) -> None:
    """Trains the runs that the flags describe."""
    libraries.load_tensorflow(train_flags.KERNEL_VARIABLES.value)
    from trainer.distribution import cluster, strategies
    from trainer.operations import sweep_results, sweeps
    from trainer.operations.sweep_plan import make_plan
    from trainer.runs import environment

    for phrase in environment.phrases():
        logging.warning("%s", phrase)
    sweep_dir = pathlib.Path(train_flags.WORKDIR.value)
    try:
        devices = strategies.choose_devices(
            train_flags.NUM_GPUS.value, train_flags.VIRTUAL_DEVICES.value
        )
        hosts = cluster.find_cluster(os.environ)
        runs = make_plan(_SWEEP.value, argv[1:], sweep_dir)
        num_hosts = len(hosts.addresses) if hosts else 1
        sweeps.check(runs, train_flags.DATASET.value, num_hosts * len(devices))
        sweep = sweeps.Sweep(runs)
        sweep.train(_PARALLEL.value)
        table = sweep_results.make_table(runs, sweep.statuses)
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(sweep_results.as_markdown(table), end="")
    try:
        sweep_results.write(table, sweep_dir)
    except OSError as error:
        entry.fail(error)
    logging.info(
        "results in %s and results.md; see all runs with\n  %s",
        sweep_dir / "results.csv",
        path_flags.command("trainer.tensorboard", workdir=sweep_dir),
    )
    failed = [run for run in runs if sweep.statuses[run.name].startswith("failed")]
    for run in failed:
        status = sweep.statuses[run.name]
        logging.error("%s %s; log: %s", run.name, status, sweeps.log_path(run))
    if sweep.stopped_by:
        logging.info(
            "stopped by %s: run the same command to go on",
            signal.Signals(sweep.stopped_by).name,
        )
        sys.exit(128 + sweep.stopped_by)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=parse_flags)
