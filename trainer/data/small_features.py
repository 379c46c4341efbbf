"""Features of records besides their arrays: parsed once, and then kept in memory.

These features are small compared with the arrays, but parsing them takes a quarter of
the time that reading the arrays takes. A record with the same checksum has not changed,
so its features are not parsed again.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer.data.record_reader import Records
from trainer.data.shard_files import DamageError

# UnicodeDecodeError occurs if TensorFlow's message quotes bytes that are not text.
_UNPARSED = (tf.errors.InvalidArgumentError, UnicodeDecodeError)


class SmallFeatures:
    """Features besides the arrays, of the records that were read before.

    Attributes:
        features: Features to keep, by name; `record_id` is a hash of the key.
    """

    def __init__(
        self, features: Mapping[str, contract.Feature], num_records: int
    ) -> None:
        """Allocates the memory for the features.

        Args:
            features: Integer features to keep besides `record_id`, by name.
            num_records: Number of records in the split.
        """
        self._parsed = {"key": contract.Feature("string"), **features}
        self.features = {"record_id": contract.Feature("int64"), **features}
        # A checksum is never negative.
        self._crcs = np.full(num_records, -1, np.int64)
        self._values = {
            name: np.empty((num_records, *feature.shape), feature.dtype)
            for name, feature in self.features.items()
        }

    def of(self, records: Records, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the features of records, by name, and their `record_id`.

        Args:
            records: The records.
            numbers: `[batch]` int64: number of each record in the split.

        Returns:
            Arrays `[batch, ...]` by name.

        Raises:
            DamageError: If a record lacks a feature.
        """
        if (self._crcs[numbers] != records.crcs).any():
            parsed = parse(records, self._parsed)
            for name, values in self._values.items():
                values[numbers] = parsed[name]
            self._crcs[numbers] = records.crcs
        return {name: values[numbers] for name, values in self._values.items()}


def parse(
    records: Records, features: Mapping[str, contract.Feature]
) -> dict[str, np.ndarray]:
    """Returns features of records, by name.

    Args:
        records: The records.
        features: Features to return, including `key`.

    Returns:
        Arrays `[batch, ...]` by name, and `record_id` `[batch]` int64, a hash of the
        key.

    Raises:
        DamageError: If a record lacks a feature.
    """
    specs = {
        name: tf.io.FixedLenFeature(feature.shape, tf.as_dtype(feature.dtype))
        for name, feature in features.items()
    }
    rests = records.rests()
    with tf.device("CPU:0"):
        try:
            parsed = tf.io.parse_example(rests, specs)
        except _UNPARSED:
            raise _error(records, rests, specs) from None
        hashes = tf.bitcast(tf.fingerprint(parsed["key"]), tf.int64)
    return {
        name: tensor.numpy() for name, tensor in {**parsed, "record_id": hashes}.items()
    }


def _error(
    records: Records, rests: Sequence[bytes], specs: Mapping[str, object]
) -> DamageError:
    """Returns the error of the first record that cannot be parsed."""
    for number, rest in enumerate(rests):
        try:
            tf.io.parse_example([rest], specs)
        except UnicodeDecodeError:
            break
        except tf.errors.InvalidArgumentError as error:
            # Format: "{{function_node …}} Name: <unknown>, Feature: NAME (…) [Op:…]".
            match = re.search(r"Name: <unknown>, (.*?)( \[Op|$)", error.message)
            if match is None:
                break
            return records.error(number, f"cannot be parsed: {match[1]}")
    return records.error(number, "cannot be parsed")
