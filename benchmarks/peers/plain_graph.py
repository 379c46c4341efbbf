"""Builds the dataset by a classical Beam graph, with images as elements.

python -m benchmarks.peers.plain_graph --files=FILES --output=DIR

Beam's own sink writes the images. The graph is at its best here: the images are single
files and already listed, values are bytes, and `tf_example_pb2` comes without
TensorFlow.
"""

import functools
import os
import time
from typing import Any

import apache_beam as beam
from absl import app
from apache_beam.io.tfrecordio import WriteToTFRecord
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from tensorflow_datasets.proto import tf_example_pb2

from benchmarks.peers import examples
from pipeline.jobs import local_runner
from pipeline.planning import plan


def serialize(example: dict[str, Any]) -> bytes:
    """Serializes the features of an image as a `tf.train.Example`."""
    proto = tf_example_pb2.Example()
    feature = proto.features.feature
    for name, value in example.items():
        if name == "key":
            feature[name].bytes_list.value.append(value.encode())
        elif name == "image":
            feature[name].bytes_list.value.append(value.tobytes())
        else:
            feature[name].int64_list.value.extend(value)
    return proto.SerializeToString()


def main(argv: list[str]) -> None:
    """Builds and runs the graph."""
    del argv
    files, image_dtype = examples.FILES.value, examples.IMAGE_DTYPE.value
    listed = examples.load_listed(files)
    make_example = functools.partial(
        examples.make_example, files=files, image_dtype=image_dtype
    )
    start_seconds = time.monotonic()
    with (
        local_runner.on_loopback(),
        beam.Pipeline(FnApiRunner(), examples.beam_options()) as pipeline,
    ):
        for split, images in listed.items():
            _ = (
                pipeline
                | f"Create-{split}" >> beam.Create(images)  # Listed
                | f"MakeExamples-{split}" >> beam.Map(make_example)  # features
                | f"Serialize-{split}" >> beam.Map(serialize)  # bytes
                | f"Write-{split}"
                >> WriteToTFRecord(
                    os.path.join(examples.OUTPUT.value, f"faces-{split}.tfrecord"),
                    num_shards=plan.num_shards(len(images), examples.SHARD_SIZE),
                )
            )
    examples.print_rate(
        sum(map(len, listed.values())), time.monotonic() - start_seconds
    )


if __name__ == "__main__":
    app.run(main)
