"""Free ports for servers to be started later."""

import contextlib
import pathlib
import random
import socket

_EPHEMERAL_RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_FIRST_EPHEMERAL = 32_768
_LOWEST = 10_000


def find_free(num: int) -> list[int]:
    """Returns free ports of 127.0.0.1, below the ephemeral range.

    Any outgoing connection may take a port of the ephemeral range before the server
    binds it.

    Args:
        num: Number of ports.

    Raises:
        OSError: If there are too few free ports.
    """
    ports: list[int] = []
    candidates = list(range(_LOWEST, _first_ephemeral()))
    # Shuffle, so that another start of the same command gets other ports.
    random.SystemRandom().shuffle(candidates)
    with contextlib.ExitStack() as stack:
        for port in candidates:
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
            if len(ports) == num:
                return ports
    raise OSError(
        f"127.0.0.1 has too few free ports ({len(ports)} of {num}): end other programs"
    )


def _first_ephemeral() -> int:
    try:
        first = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _DEFAULT_FIRST_EPHEMERAL
    # An administrator may have widened the range so far that hardly a port is left.
    return first if first > 2 * _LOWEST else _DEFAULT_FIRST_EPHEMERAL
