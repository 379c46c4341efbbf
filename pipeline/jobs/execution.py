"""How the commands that make datasets begin, import Beam, and end."""

import contextlib
import functools
import gc
import logging as python_logging
import sys
from collections.abc import Callable, Sequence

from absl import flags, logging

from pipeline import contract
from pipeline.jobs import quiet, worker
from pipeline.process import arguments, entry, interrupts, limits, wording


@functools.cache
def load_beam() -> None:
    """Imports Beam for the process of a command; later calls change nothing.

    Beam's own log lines are dropped from then on.
    """
    python_logging.getLogger().addFilter(quiet.is_not_beams)
    limits.check_addresses()
    # Garbage collections find nothing here, but take a tenth of the import's second.
    gc.disable()
    try:
        import pipeline.jobs.dataset_job  # noqa: F401
    finally:
        gc.enable()


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line, or ends the program with a one-line error.

    Args:
        argv: Program name, our flags, and Beam's flags.

    Returns:
        The program name and Beam's flags.
    """
    try:
        return split_flags(argv)
    except flags.Error as error:
        entry.refuse(error)


def split_flags(argv: Sequence[str]) -> list[str]:
    """Parses our flags with absl, and returns the program name and Beam's flags.

    Raises:
        flags.Error: If a flag has a wrong value, or is neither ours nor Beam's; the
            text suggests the nearest name.
    """
    # Without this, parsing stops at the first bare value, as in `--runner FlinkRunner`.
    flags.FLAGS.set_gnu_getopt(True)
    program, *beam_args = flags.FLAGS(list(argv), known_only=True)
    entry.check_parsed()
    load_beam()
    from pipeline.jobs import runners

    runners.check_flags(beam_args)
    return [program, *beam_args]


def run(
    argv: Sequence[str],
    make: Callable[[Sequence[str], worker.Nursery | None], contract.Manifest | None],
) -> None:
    """Runs a command that has a flag --num_workers, or exits with a one-line error.

    Args:
        argv: Program name and Beam's flags.
        make: Function that makes the dataset from Beam's flags and a nursery of
            workers. It returns the manifest, or None if the dataset is not complete
            yet.
    """
    load_beam()
    from pipeline.jobs import runners

    # Imported modules and listed files stay, so garbage collections would find nothing.
    gc.freeze()
    gc.set_threshold(100_000)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO)
    interrupts.explain("run the same command again; it keeps the finished shards")
    beam_args = list(argv[1:])
    num_workers = flags.FLAGS["num_workers"]
    if num_workers.present:
        # Pass it on, because Dataflow has a flag of this name.
        beam_args.append(f"--num_workers={num_workers.value}")
    is_local = runners.runner_name(beam_args) == runners.LOCAL_RUNNER
    with contextlib.ExitStack() as stack:
        nursery = None
        if is_local and flags.FLAGS.num_workers > 1:
            # Copy this process now, while it has no threads.
            nursery = stack.enter_context(
                contextlib.closing(worker.Nursery(is_copy=True))
            )
        if not is_local:
            # Unwind on a signal to cancel the job, which would go on elsewhere.
            stack.enter_context(interrupts.unwinding())
        try:
            manifest = make(beam_args, nursery)
        except contract.DatasetError as error:
            text = limits.shortage_text(error) or str(error)
            sys.exit(f"error: {arguments.in_command(text)}")
        except (MemoryError, RuntimeError, OSError) as error:
            text = limits.shortage_text(error)
            if text is None:
                raise
            sys.exit(f"error: {text}")
    if manifest is None:
        return
    _log_summary(manifest)
    print(f"dataset digest: {manifest.digest}")


def _log_summary(manifest: contract.Manifest) -> None:
    from pipeline.jobs import counters

    for name, split in manifest.splits.items():
        logging.info(
            "%s: %s in %s, %s, rejected: %s",
            name,
            wording.counted(split.num_examples, "image"),
            wording.counted(len(split.shards), "shard"),
            wording.size(split.num_bytes),
            counters.rejects_text(split.rejected),
        )
