"""Builds the dataset by TensorFlow Datasets' own Beam writer.

python -m benchmarks.peers.tfds_builder --files=FILES --output=DIR

The writer is at its best here: images are encoded as bytes (`tfds.features.Tensor`
otherwise writes lists of numbers), nothing is looked up on the network, and no
statistics are computed. Its order is deterministic, like ours.
"""

import dataclasses
import functools
import time
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_datasets as tfds
from absl import app
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from benchmarks.peers import examples
from pipeline.jobs import local_runner
from pipeline.planning import plan


@dataclasses.dataclass(kw_only=True)
class FacesConfig(tfds.core.BuilderConfig):
    """The settings that distinguish one build from another.

    Attributes:
        files: Directory that `inputs.extract` made.
        image_dtype: Storage type of the images.
    """

    files: str
    image_dtype: str


class Faces(tfds.core.BeamBasedBuilder):
    """The photographs, as a user of TFDS would define them."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        (_, labels), *_ = self._listed["train"]
        image_shape = (examples.IMAGE_SIZE, examples.IMAGE_SIZE, 3)
        features: dict[str, Any] = {
            "key": tfds.features.Text(),
            "image": tfds.features.Tensor(
                shape=image_shape,
                dtype=np.dtype(self.builder_config.image_dtype),
                encoding="bytes",
            ),
        }
        for name, values in labels.items():
            features[name] = tfds.features.Tensor(shape=(len(values),), dtype=np.int64)
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, beam.PTransform]:
        del dl_manager
        return {
            split: self._generate_examples(listed)
            for split, listed in self._listed.items()
        }

    def _generate_examples(self, listed: list[examples.Listed]) -> beam.PTransform:
        make_example = functools.partial(
            examples.make_example,
            files=self.builder_config.files,
            image_dtype=self.builder_config.image_dtype,
        )
        return (
            beam.Create(listed)  # Listed
            | beam.Map(make_example)  # features
            | beam.WithKeys(_key)  # (str, features)
        )

    @functools.cached_property
    def _listed(self) -> dict[str, list[examples.Listed]]:
        return examples.load_listed(self.builder_config.files)


def _key(example: dict[str, Any]) -> str:
    return example["key"]


def main(argv: list[str]) -> None:
    """Builds the dataset."""
    del argv
    files, image_dtype = examples.FILES.value, examples.IMAGE_DTYPE.value
    builder = Faces(
        config=FacesConfig(name=image_dtype, files=files, image_dtype=image_dtype),
        data_dir=examples.OUTPUT.value,
    )
    largest_split = max(map(len, examples.load_listed(files).values()))
    start_seconds = time.monotonic()
    with local_runner.on_loopback():
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                beam_runner=FnApiRunner(),
                beam_options=examples.beam_options(),
                try_download_gcs=False,
                compute_stats=tfds.download.ComputeStatsMode.SKIP,
                # TFDS takes one number of shards for all splits.
                num_shards=plan.num_shards(largest_split, examples.SHARD_SIZE),
            )
        )
    seconds = time.monotonic() - start_seconds
    examples.print_rate(builder.info.splits.total_num_examples, seconds)


if __name__ == "__main__":
    app.run(main)
