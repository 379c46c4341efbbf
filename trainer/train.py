"""Trains a VAE on a prepared dataset, or resumes a run that was stopped.

    python -m trainer.train --config=configs/celeba.py --dataset=DIR --workdir=DIR

Exit codes: 0 done; 1 a setting, file or flag is wrong; 4 a loss was not finite; 5
another host is gone; 128 + signal when a signal stopped it, after a checkpoint.
"""

import os
import pathlib
import sys
from typing import NoReturn

from absl import flags, logging

from pipeline.process import arguments, entry, interrupts, path_flags
from trainer.cli import command_line, train_flags
from trainer.system import libraries

flags.adopt_module_key_flags(train_flags)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    libraries.load_tensorflow(train_flags.KERNEL_VARIABLES.value)
    import tensorflow as tf

    from trainer.distribution import cluster, hosts, strategies
    from trainer.numerics import exact
    from trainer.runs import workdir
    from trainer.training import loop, profiling

    interrupts.explain("run the same command to go on from the last checkpoint")
    config, run_dir = train_flags.CONFIG.value, pathlib.Path(train_flags.WORKDIR.value)
    try:
        exact.configure(train_flags.NUM_THREADS.value)
        all_hosts = cluster.find_cluster(os.environ)
        logging.info("%s", cluster.describe(all_hosts))
        strategy = strategies.make_strategy(
            train_flags.NUM_GPUS.value,
            train_flags.VIRTUAL_DEVICES.value,
            config.gpu_memory_fraction,
            all_hosts,
        )
        with command_line.damage_explained():
            outcome = loop.train(
                config,
                train_flags.DATASET.value,
                run_dir,
                strategy,
                all_hosts,
                profiling.parse_steps(train_flags.PROFILE_STEPS.value),
            )
    except hosts.LostHostError as error:
        _leave(5, error)
    except tf.errors.OpError as error:
        if all_hosts is None:
            raise
        _leave(5, hosts.lost_host_error(all_hosts, error))
    except loop.NonFiniteError as error:
        _leave(4, error)
    except OSError as error:
        _leave(1, workdir.describe_error(run_dir, error))
    except ValueError as error:
        _leave(1, error)
    if outcome.stopped_by:
        logging.info(
            "stopped at step %d by %s, with a checkpoint: run the same command to go "
            "on",
            outcome.step,
            outcome.stopped_by.name,
        )
        _leave(128 + outcome.stopped_by)
    logging.info(
        "done at step %d; pictures in %s/images; see the run with\n  %s",
        outcome.step,
        run_dir,
        path_flags.command("trainer.tensorboard", workdir=run_dir),
    )
    _leave(0)


def _leave(code: int, error: Exception | str | None = None) -> NoReturn:
    """Ends the process at once, because `strategies.iterate` frees no iterator."""
    if error:
        print(f"error: {arguments.in_command(str(error))}", file=sys.stderr)
    logging.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=command_line.parse_flags)
