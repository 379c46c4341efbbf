"""Shows runs in TensorBoard, with all their pictures.

    python -m trainer.tensorboard --workdir=RUN
    python -m trainer.tensorboard --workdir=RUN,OTHER      to compare
    python -m trainer.tensorboard --workdir=SWEEP          all of its runs

Separate several workdirs by commas, or repeat the flag. The command prints the address
of TensorBoard, and ends with Ctrl-C. Exit codes: 0 done; 1 a flag or a directory is
wrong.
"""

import contextlib
import signal

from absl import flags, logging

from pipeline.process import entry
from trainer.cli import command_line

_WORKDIR = flags.DEFINE_multi_string(
    "workdir",
    None,
    "Directory of a run or of a sweep; separate several directories by commas.",
)
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen at; 0.0.0.0 listens at all network interfaces.",
)
_PORT = flags.DEFINE_integer(
    "port",
    None,
    "Port to listen at; 0 takes any free port. The default is 6006 or the next free "
    "port.",
    lower_bound=0,
    upper_bound=65535,
)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    from trainer.reporting import tensorboard_server, workdirs

    # A service manager sends SIGTERM: end as cleanly as with Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    logging.set_verbosity(logging.ERROR)
    try:
        paths = [path for text in _WORKDIR.value or () for path in workdirs.split(text)]
        with (
            tensorboard_server.as_one_directory(paths) as directory,
            contextlib.suppress(KeyboardInterrupt),
        ):
            url = tensorboard_server.launch(directory, _HOST.value, _PORT.value)
            names = ", ".join(str(path) for path in paths)
            print(f"{names}: {url} (Ctrl-C ends)", flush=True)
            while True:
                signal.pause()
    except (ValueError, OSError) as error:
        entry.fail(error)


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    entry.run(main, flags_parser=command_line.parse_flags)
