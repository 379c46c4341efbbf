"""Hosts in a network of their own, and addresses that reach the ports of a command.

The hosts are network namespaces of this machine. A test can cut their links.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests import preloaded

# The network is separate from this machine's, so its addresses cannot clash.
_ADDRESS = "10.77.0.{}"
_INTERFACE = "eth0"


@dataclasses.dataclass(frozen=True)
class Host:
    """A network namespace with one link to a switch.

    Attributes:
        address: Address at which the other hosts reach this host.
        namespace: Name of the host's namespace, for `ip`.
        switch: Name of the switch's namespace.
        port: Name of the switch's interface at the other end of the link.
    """

    address: str
    namespace: str
    switch: str
    port: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words before a command that run it on this host, with the same process id."""
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    def cut(self) -> None:
        """Takes the link down at the switch: packets are lost without any error."""
        _ip("-n", self.switch, "link", "set", "dev", self.port, "down")

    def restore(self) -> None:
        """Brings the link up again after `cut`."""
        _ip("-n", self.switch, "link", "set", "dev", self.port, "up")


@contextlib.contextmanager
def hosts(number: int) -> Iterator[list[Host]]:
    """Makes hosts that reach only each other; skips the test where that is impossible.

    Processes that still run on the hosts are killed at the end.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    for name in ("ip", "nsenter"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name}: apt-get install iproute2 util-linux")
    switch = f"vaeline{os.getpid()}"
    members = [
        Host(_ADDRESS.format(index), f"{switch}-{index}", switch, f"port{index}")
        for index in range(1, number + 1)
    ]
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_namespace(switch))
            _ip("-n", switch, "link", "add", "name", "bridge", "type", "bridge")
            _ip("-n", switch, "link", "set", "dev", "bridge", "up")
            for host in members:
                stack.enter_context(_namespace(host.namespace))
                _connect(host)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"cannot make network namespaces: {error.stderr.strip()}")
        yield members


def _connect(host: Host) -> None:
    inside = ("-n", host.namespace)
    veth = ("link", "add", "name", host.port, "type", "veth")
    _ip("-n", host.switch, *veth, "peer", "name", _INTERFACE, "netns", host.namespace)
    at_switch = ("link", "set", "dev", host.port, "master", "bridge", "up")
    _ip("-n", host.switch, *at_switch)
    _ip(*inside, "address", "add", f"{host.address}/24", "dev", _INTERFACE)
    for interface in ("lo", _INTERFACE):
        _ip(*inside, "link", "set", "dev", interface, "up")


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[None]:
    _ip("netns", "add", name)
    try:
        yield
    finally:
        for pid in _ip("netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    done.check_returncode()
    return done.stdout


def reached(
    process: subprocess.Popen[str], until: Callable[[], object] | None = None
) -> dict[int, set[str]]:
    """Connects to all ports of a process and its descendants, at every address.

    Args:
        process: Running process.
        until: Condition that ends the search before the process ends (default: none).

    Returns:
        Addresses that answered, keyed by port; 127.0.0.1 is always among them.
    """
    actual: dict[int, set[str]] = {}
    while process.poll() is None and not (until and until()):
        for port in _ports(_family(process.pid)):
            if _answers("127.0.0.1", port):
                others = [at for at in _other_addresses() if _answers(at, port)]
                actual.setdefault(port, {"127.0.0.1"}).update(others)
        time.sleep(0.1)
    return actual


def _other_addresses() -> list[str]:
    """Returns addresses of this machine besides 127.0.0.1."""
    actual = ["127.0.0.2", "::1"]
    # Connecting a datagram socket sends no packet, but gives our address on that route.
    for family, target in (
        (socket.AF_INET, "192.0.2.1"),
        (socket.AF_INET6, "2001:db8::1"),
    ):
        with (
            contextlib.suppress(OSError),
            socket.socket(family, socket.SOCK_DGRAM) as one,
        ):
            one.connect((target, 9))
            actual.append(one.getsockname()[0])
    return actual


def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((address, port), timeout=1).close()
        return True
    return False


def _family(pid: int) -> set[int]:
    """Returns a process and its descendants, including their preloaded copies."""
    parents = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1])
    actual, new = {pid}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} | {
            preloaded.copy_of(each) for each in new
        }
        new -= actual
        actual |= new
    return actual


def _ports(pids: set[int]) -> set[int]:
    """Returns the TCP ports where processes listen, on any address."""
    listening = {}
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening[f"socket:[{fields[9]}]"] = int(
                    fields[1].rpartition(":")[2], 16
                )
    actual = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    actual.add(listening.get(os.readlink(f"/proc/{pid}/fd/{file}")))
    return actual - {None}
