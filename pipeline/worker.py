"""A worker process of the local runner: Beam's own, quiet, and gone with its launcher.

    python -m pipeline.worker LAUNCHER_PID

The runner starts it; it is no command of the user's.
"""

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time

_POLL_SECONDS = 0.2


def main(argv: list[str]) -> None:
    """Serves Beam until the launcher says so, or is no more."""
    # Each start is twenty lines of INFO, and an error reaches the launcher anyway.
    logging.disable(logging.ERROR)
    # The launcher answers an interrupt for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    launcher = int(argv[1])
    threading.Thread(target=_exit_after, args=(launcher,), daemon=True).start()
    # Its import logs too.
    from apache_beam.runners.worker import sdk_worker_main

    # What is imported stays: no collection needs to look at it again.
    gc.freeze()
    # A failed step prints its traceback, which the launcher has from Beam. What ends
    # this process is still shown.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        sdk_worker_main.main(argv[:1])


def _exit_after(launcher: int) -> None:
    """Ends this process when its parent is no longer the launcher."""
    while os.getppid() == launcher:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv)
