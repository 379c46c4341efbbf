"""Free ports for servers that are started later."""

import contextlib
import pathlib
import random
import socket

_EPHEMERAL_RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_FIRST_EPHEMERAL = 32_768
_LOWEST = 10_000


def find_free(num: int) -> list[int]:
    """Returns ports of 127.0.0.1 at which nobody listens.

    They lie below the ephemeral range, since any outgoing connection may take a port of
    that range before the server binds it.

    Args:
        num: Number of ports.

    Raises:
        OSError: If there are not so many.
    """
    ports: list[int] = []
    candidates = list(range(_LOWEST, _first_ephemeral()))
    # Another start of the same command draws other ports.
    random.SystemRandom().shuffle(candidates)
    with contextlib.ExitStack() as stack:
        for port in candidates:
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
            if len(ports) == num:
                return ports
    raise OSError(f"127.0.0.1 has {len(ports)} free ports, and {num} are needed")


def _first_ephemeral() -> int:
    try:
        first = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _DEFAULT_FIRST_EPHEMERAL
    # An administrator may have widened the range down to what would be left here.
    return first if first > 2 * _LOWEST else _DEFAULT_FIRST_EPHEMERAL
