"""Hosts of a network of their own: namespaces of this machine, and links to cut."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

# Nothing else of this machine is in it, so that it may be anybody's.
_ADDRESS = "10.77.0.{}"
_INTERFACE = "eth0"


@dataclasses.dataclass(frozen=True)
class Host:
    """A network namespace with one link to a switch.

    Attributes:
        address: By which the other hosts reach it.
        namespace: Its name, for `ip`.
        switch: The namespace of the switch.
        port: The switch's, at the other end of the link.
    """

    address: str
    namespace: str
    switch: str
    port: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command begins with to run on this host; it keeps its process id."""
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    def cut(self) -> None:
        """Takes its link down at the switch: nothing arrives, and nobody is told."""
        _ip("-n", self.switch, "link", "set", "dev", self.port, "down")

    def restore(self) -> None:
        """Ends what `cut` began."""
        _ip("-n", self.switch, "link", "set", "dev", self.port, "up")


@contextlib.contextmanager
def hosts(number: int) -> Iterator[list[Host]]:
    """Makes hosts that reach each other and nothing else; skips the test if it may not.

    What still runs on them in the end is killed.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    for name in ("ip", "nsenter"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name}: apt-get install iproute2 util-linux")
    switch = f"vaeline{os.getpid()}"
    made = [
        Host(_ADDRESS.format(index), f"{switch}-{index}", switch, f"port{index}")
        for index in range(1, number + 1)
    ]
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_namespace(switch))
            _ip("-n", switch, "link", "add", "name", "bridge", "type", "bridge")
            _ip("-n", switch, "link", "set", "dev", "bridge", "up")
            for host in made:
                stack.enter_context(_namespace(host.namespace))
                _connect(host)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"cannot make network namespaces: {error.stderr.strip()}")
        yield made


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
