import pytest
import tensorflow as tf

from trainer.distribution import hosts
from trainer.distribution.cluster import Cluster

ADDRESSES = ("a:1", "b:2", "c:3")


# TensorFlow's messages: to the chief about hosts without heartbeats, and to another
# host about a chief that does not answer.
@pytest.mark.parametrize(
    ("index", "message", "said"),
    [
        (0, "unhealthy tasks:\n/job:worker/replica:0/task:1\n", "host 1 (b:2) is gone"),
        (
            0,
            "/job:worker/replica:0/task:1\n/job:worker/replica:0/task:2\n",
            "host 1 (b:2), host 2 (c:3) are gone, or do not answer: start the same",
        ),
        (
            2,
            "Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat",
            "host 0 (a:1) is gone",
        ),
        (2, "CANCELLED", "another host is gone, or does not answer: start the same"),
    ],
)
def test_who_is_gone_is_named(index: int, message: str, said: str) -> None:
    error = tf.errors.UnavailableError(None, None, message)
    actual = hosts.lost_host_error(Cluster(ADDRESSES, index, "TF_CONFIG"), error)
    assert str(actual).startswith(said)
