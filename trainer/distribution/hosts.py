"""Messages between the hosts of a cluster, besides gradients."""

import contextlib
import hashlib
import re
import socket
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from pipeline.process import wording
from trainer.distribution.cluster import Cluster

_RETRY_SECS = 0.2


class LostHostError(RuntimeError):
    """Another host is missing or gone; the text is for the user."""


class Hosts:
    """Hosts of a run; all of them must make the same calls in the same order.

    Attributes:
        is_chief: Whether this host writes the files of the run.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, cluster: Cluster | None
    ) -> None:
        """Stores the cluster; without a cluster, this host is alone."""
        self._strategy = strategy
        self._num_hosts = 1 if cluster is None else len(cluster.addresses)
        self._index = 0 if cluster is None else cluster.index
        self.is_chief = self._index == 0

    def gather(self, value: int) -> list[int]:
        """Returns the values of all hosts, in the order of the hosts."""
        if self._num_hosts == 1:
            return [value]
        values = np.zeros(self._num_hosts, np.int64)
        values[self._index] = value
        return self._sum(tf.constant(values)).numpy().tolist()

    def from_chief(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the chief's arrays, bit for bit.

        All hosts pass the same number of arrays, with the same shapes and types.
        """
        arrays = list(arrays)
        if self._num_hosts == 1:
            return arrays
        # Send bytes, because a sum of floats loses the sign of zero.
        parts = [
            np.frombuffer(array.tobytes(), np.uint8).astype(np.int32)
            for array in arrays
        ]
        bits = (
            np.concatenate(parts)
            if self.is_chief
            else np.zeros(sum(map(len, parts)), np.int32)
        )
        received = self._sum(tf.constant(bits)).numpy().astype(np.uint8)
        pieces = np.split(received, np.cumsum([len(part) for part in parts])[:-1])
        return [
            np.frombuffer(part.tobytes(), array.dtype).reshape(array.shape)
            for part, array in zip(pieces, arrays, strict=True)
        ]

    def differing(self, text: str) -> list[int]:
        """Returns the numbers of the hosts whose text differs from the chief's text."""
        digest = hashlib.sha256(text.encode()).digest()
        chief, *others = self.gather(int.from_bytes(digest[:7]))
        return [place for place, its in enumerate(others, 1) if its != chief]

    def check_equal(self, text: str) -> None:
        """Checks that every host has the chief's text: its settings and dataset.

        Raises:
            ValueError: On every host, if any host has another text.
        """
        differing = self.differing(text)
        if differing:
            # A host that ended at once could keep the numbers from another host. After
            # this wait, all hosts have the numbers, even if the wait itself fails.
            with contextlib.suppress(tf.errors.OpError):
                self.wait()
            raise ValueError(
                "the settings or the dataset of host "
                f"{', '.join(map(str, differing))} differ from those of the chief, "
                "host 0: give all hosts the same flags"
            )

    def wait(self) -> None:
        """Waits until every host has made this call."""
        self.gather(0)

    @tf.function(autograph=False, reduce_retracing=True)
    def _sum(self, values: tf.Tensor) -> tf.Tensor:
        num_local = self._strategy.num_replicas_in_sync // self._num_hosts

        def in_replica(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # Only one replica of each host adds its value.
            counts = context.replica_id_in_sync_group % num_local == 0
            mine = tf.where(counts, values, tf.zeros_like(values))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        summed = self._strategy.run(in_replica, args=(values,))
        return self._strategy.experimental_local_results(summed)[0]


def wait_for_peers(cluster: Cluster, timeout_secs: float) -> None:
    """Waits until all other hosts of the cluster answer, and answers them meanwhile.

    TensorFlow itself would wait for eleven minutes and not name the missing hosts.

    Args:
        cluster: Cluster of this host.
        timeout_secs: Maximum time to wait, in seconds.

    Raises:
        LostHostError: If some hosts do not answer in time; the text names them.
        ValueError: If this host cannot listen at its own address.
    """
    end = time.monotonic() + timeout_secs
    absent = [a for a in cluster.addresses if a != cluster.address]
    with listening(cluster):
        logging.info("waiting for other hosts to start: %s", ", ".join(absent))
        while absent:
            absent = [address for address in absent if not _answers(address)]
            if absent and time.monotonic() > end:
                raise LostHostError(
                    f"no answer from {', '.join(absent)} in {timeout_secs:.0f} s: "
                    "start the same command there, or correct the hosts in "
                    f"{cluster.source}; this host is {cluster.address}"
                )
            if absent:
                time.sleep(_RETRY_SECS)


def unknown_names(cluster: Cluster) -> list[str]:
    """Returns the addresses that this host cannot resolve, each with the reason."""
    unknown = []
    for address in cluster.addresses:
        try:
            socket.getaddrinfo(address.rpartition(":")[0].strip("[]"), None)
        except OSError as error:
            unknown.append(f"{address} ({error.strerror})")
    return unknown


def lost_host_error(cluster: Cluster, error: tf.errors.OpError) -> LostHostError:
    """Returns the error that explains the failure of a step to the user of a cluster.

    Args:
        cluster: Cluster of this host.
        error: Error of TensorFlow, which names other hosts by their numbers.
    """
    numbers = {int(number) for number in re.findall(r"/task:(\d+)", error.message)}
    # Only the chief runs this service, and TensorFlow does not name the host it called.
    if "/tensorflow.CoordinationService/" in error.message:
        numbers.add(0)
    others = sorted(numbers & set(range(len(cluster.addresses))) - {cluster.index})
    named = ", ".join(f"host {at} ({cluster.addresses[at]})" for at in others)
    gone = "are gone, or do not" if len(others) > 1 else "is gone, or does not"
    return LostHostError(
        f"{named or 'another host'} {gone} answer: start the same command on all hosts "
        "again; it goes on from the last checkpoint"
    )


@contextlib.contextmanager
def listening(cluster: Cluster) -> Iterator[None]:
    """Answers at this host's port, where TensorFlow will listen later.

    The port is open on every interface, or only on the loopback if all hosts are on the
    loopback of one machine.

    Raises:
        ValueError: If this host cannot listen at the port.
    """
    port = cluster.address.rpartition(":")[2]
    address = cluster.loopback or ""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        server = socket.create_server((address, int(port)), family=family, backlog=1024)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot listen at port {port} of {cluster.address}, the address of this "
            f"host in {cluster.source}: {_cause(error)}"
        ) from error
    with server:
        yield


def _cause(error: OSError | ValueError) -> str:
    # Python appends the address, which the message names already.
    return wording.cause(error).partition(" (while attempting to bind")[0]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
        return True
    return False
