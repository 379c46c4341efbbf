"""Addresses that TensorFlow's server listens on; test_launch.py trains with them."""

import logging
import socket
from unittest import mock

import pytest
import tensorflow as tf

from pipeline.process import ports
from trainer.distribution import hosts, loopback
from trainer.distribution.cluster import Cluster

ADDRESSES = ("127.0.0.1", "127.0.0.2", "::1")


def answering(port: int) -> list[str]:
    actual = []
    for address in ADDRESSES:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except ConnectionRefusedError:
            continue
        actual.append(address)
    return actual


def cluster_of(host: str, other: str) -> Cluster:
    return Cluster((f"{host}:{ports.find_free(1)[0]}", f"{other}:1"), 0, "TF_CONFIG")


def serve(cluster: Cluster) -> list[str]:
    """Starts TensorFlow's server, and returns the addresses that answer.

    The server runs until the process ends.
    """
    with loopback.serving(cluster):
        spec = {"worker": list(cluster.addresses)}
        server = tf.distribute.Server(spec, job_name="worker", task_index=0)
    assert server.target.startswith("grpc://")
    return answering(int(cluster.address.rpartition(":")[2]))


@pytest.mark.parametrize(
    ("host", "other", "found"),
    [
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1"]),
        ("localhost", "127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.2", "127.0.0.1", ["127.0.0.2"]),
        ("[::1]", "[::1]", ["::1"]),
        # Another host must be able to reach this host.
        ("127.0.0.1", "10.0.0.2", list(ADDRESSES)),
        ("127.0.0.1", "faces-1.faces", list(ADDRESSES)),
    ],
)
def test_a_server_listens_where_its_hosts_are(host, other, found, caplog) -> None:
    cluster = cluster_of(host, other)
    assert serve(cluster) == found
    assert not caplog.records


def test_waiting_for_hosts_listens_where_tensorflow_will() -> None:
    cluster = cluster_of("127.0.0.1", "127.0.0.1")
    port = int(cluster.address.rpartition(":")[2])
    with hosts.listening(cluster):
        assert answering(port) == ["127.0.0.1"]


def test_a_server_after_the_block_is_left_alone() -> None:
    local = cluster_of("127.0.0.1", "127.0.0.1")
    with loopback.serving(local):
        pass
    assert serve(cluster_of("127.0.0.1", "10.0.0.2")) == list(ADDRESSES)


def test_a_server_that_cannot_be_held_is_told_of(caplog) -> None:
    cluster = cluster_of("127.0.0.1", "127.0.0.1")
    with (
        caplog.at_level(logging.WARNING),
        mock.patch.object(loopback, "_libraries", return_value=[]),
    ):
        assert serve(cluster) == list(ADDRESSES)
    port = cluster.address.rpartition(":")[2]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"TensorFlow listens at port {port} of every address")
