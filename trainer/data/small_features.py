"""Features of records besides their arrays: parsed once, and remembered.

What a record holds is small beside its arrays, and takes as long to be parsed as a
quarter of these to be read. As long as its checksum is the same, so is the record.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from pipeline import contract
from trainer.data.record_reader import Records
from trainer.data.shard_files import DamageError

# The second where TensorFlow quotes bytes that are no text.
_UNPARSED = (tf.errors.InvalidArgumentError, UnicodeDecodeError)


class SmallFeatures:
    """What records that were read before hold besides arrays.

    Attributes:
        features: Those that are remembered, by name; `record_id` is a hash of the key.
    """

    def __init__(
        self, features: Mapping[str, contract.Feature], num_records: int
    ) -> None:
        """Remembers nothing yet.

        Args:
            features: Those to remember besides `record_id`, of integers.
            num_records: Of the dataset.
        """
        self._parsed = {"key": contract.Feature("string"), **features}
        self.features = {"record_id": contract.Feature("int64"), **features}
        # No checksum is negative.
        self._crcs = np.full(num_records, -1, np.int64)
        self._values = {
            name: np.empty((num_records, *feature.shape), feature.dtype)
            for name, feature in self.features.items()
        }

    def of(self, records: Records, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the features of records, by name, and their `record_id`.

        Args:
            records: The records.
            numbers: `[batch]` int64: theirs, of all records.

        Returns:
            `[batch, ...]` each.

        Raises:
            DamageError: If a record lacks one of them.
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
        features: Those to return, of which one is the `key`.

    Returns:
        `[batch, ...]` each, and `record_id` `[batch]` int64, a hash of the key.

    Raises:
        DamageError: If a record lacks one of them.
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
    """Returns what is wrong with the first record that cannot be parsed."""
    for number, rest in enumerate(rests):
        try:
            tf.io.parse_example([rest], specs)
        except UnicodeDecodeError:
            break
        except tf.errors.InvalidArgumentError as error:
            # As in "{{function_node …}} Name: <unknown>, Feature: NAME (…) [Op:…]".
            match = re.search(r"Name: <unknown>, (.*?)( \[Op|$)", error.message)
            if match is None:
                break
            return records.error(number, f"cannot be parsed: {match[1]}")
    return records.error(number, "cannot be parsed")
