import pathlib
import random
import socket

import pytest

from pipeline.process import ports


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("32768\t60999\n", 32768),
        ("49152 65535", 49152),
        ("1024 65535", 32768),
        ("", 32768),
    ],
)
def test_ports_are_free_and_no_outgoing_connection_takes_them(
    text: str, first: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "range"
    path.write_text(text)
    monkeypatch.setattr(ports, "_EPHEMERAL_RANGE", path)
    free = ports.find_free(50)
    assert len(set(free)) == 50
    assert all(ports._LOWEST <= port < first for port in free)
    for port in free:
        socket.create_server(("127.0.0.1", port)).close()
    # Two commands that start at the same time choose different ports.
    assert ports.find_free(50) != free


def test_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = ports.find_free(2)
    monkeypatch.setattr(
        random.SystemRandom, "shuffle", lambda _, x: x.__setitem__(slice(None), order)
    )
    with socket.create_server(("127.0.0.1", taken)):
        order = [taken, free]
        assert ports.find_free(1) == [free]
        with pytest.raises(OSError, match="has too few free ports .1 of 2.: end other"):
            ports.find_free(2)
