"""Prepares small data sets with TensorFlow Datasets, and reads them back with it.

    python tfds_datasets.py FACES OUT

FACES has CelebA's layout. For each data set, OUT gets

- NAME/VERSION, with two shards per split;
- NAME.npz, the images and labels that TensorFlow Datasets reads, in order of its files.

OUT also gets mock.json, the examples of a mocked `tfds.load("celeb_a")`.
"""

import importlib.resources
import io
import json
import pathlib
import sys
import zipfile

import numpy as np
from PIL import Image

SPLITS = ("train", "validation", "test")
NUM_SHARDS = 2


def jpeg(pixels: np.ndarray) -> io.BytesIO:
    Image.fromarray(pixels).save(file := io.BytesIO(), "JPEG")
    file.seek(0)
    return file


def official_files(
    faces: pathlib.Path, out: pathlib.Path
) -> tuple[dict[str, pathlib.Path], dict[str, io.BytesIO]]:
    """Returns the lists, by their names in celeb_a's builder, and the images by key."""
    archive = zipfile.ZipFile(faces / "img_align_celeba.zip")
    partition = faces / "Eval" / "list_eval_partition.txt"
    keys = [line.split()[0] for line in partition.read_text().splitlines()]
    identities = out / "identity.txt"
    identities.write_text("".join(f"{key} {n}\n" for n, key in enumerate(keys)))
    files = {
        "list_eval_partition": partition,
        "landmarks_celeba": faces / "Anno" / "list_landmarks_align_celeba.txt",
        "list_attr_celeba": faces / "Anno" / "list_attr_celeba.txt",
        "identity_celeba": identities,
    }
    images = {key: io.BytesIO(archive.read(f"img_align_celeba/{key}")) for key in keys}
    return files, images


def main(faces: pathlib.Path, out: pathlib.Path) -> None:
    # The builder of celeb_a imports a package of this name, which is not installed.
    sys.modules.setdefault("importlib_resources", importlib.resources)
    import tensorflow_datasets as tfds
    from tensorflow_datasets.datasets.celeb_a import celeb_a_dataset_builder

    features, rng = tfds.features, np.random.default_rng(0)

    # Replace the method that downloads the files.
    celeb_a_dataset_builder.Builder._split_generators = lambda builder, _: {
        split: builder._generate_examples(number, *official_files(faces, out))
        for number, split in enumerate(SPLITS)
    }

    class Own(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Data set with the features `kinds` and `sizes` images per split."""

        VERSION = tfds.core.Version("1.0.0")
        kinds: dict = {}
        sizes: dict = {}

        def _info(self):
            kinds = features.FeaturesDict(self.kinds)
            return tfds.core.DatasetInfo(builder=self, features=kinds)

        def _split_generators(self, dl_manager):
            return {
                split: self._generate_examples(num) for split, num in self.sizes.items()
            }

        def _generate_examples(self, number):
            for key in range(number):
                yield key, self.example(key)

    class Pets(Own, skip_registration=True):
        """Images of any size, some in colour, with a class and other features."""

        kinds = {
            "image": features.Image(),
            "species": features.ClassLabel(names=["cat", "dog", "emu"]),
            "file_name": features.Text(),
            "weight": np.float32,
        }
        sizes = {"train": 20, "val": 6, "test": 5, "unlabeled": 4}

        def example(self, key):
            shape = (30 + key, 40, 3) if key % 3 else (33, 44)
            return {
                "image": jpeg(rng.integers(0, 256, shape, dtype=np.uint8)),
                "species": key % 4 - 1,
                "file_name": f"{key}.jpg",
                "weight": 1.5,
            }

    class Marks(Own, skip_registration=True):
        """Grey images, and classes without names."""

        kinds = {
            "image": features.Image(shape=(12, 10, 1)),
            "label": features.ClassLabel(num_classes=4),
        }
        sizes = {"train": 9, "test": 5}

        def example(self, key):
            pixels = rng.integers(0, 256, (12, 10, 1), dtype=np.uint8)
            return {"image": pixels, "label": key % 4}

    class Views(Own, skip_registration=True):
        """One split of images without labels."""

        kinds = {"photo": features.Image(shape=(16, 16, 3))}
        sizes = {"train": 40}

        def example(self, key):
            return {"photo": rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)}

    for builder_class in (celeb_a_dataset_builder.Builder, Pets, Marks, Views):
        builder = builder_class(data_dir=out)
        config = tfds.download.DownloadConfig(num_shards=NUM_SHARDS)
        builder.download_and_prepare(download_config=config)
        save_as_read(tfds, builder, out / f"{builder.name}.npz")
    with tfds.testing.mock_data(policy=tfds.testing.MockPolicy.USE_CODE):
        spec = tfds.load("celeb_a", split="train").element_spec
    flat = {
        name: feature for name, feature in spec.items() if not isinstance(feature, dict)
    }
    for name in spec.keys() - flat.keys():
        flat |= {f"{name}/{member}": feature for member, feature in spec[name].items()}
    described = {n: [s.dtype.name, s.shape.as_list()] for n, s in flat.items()}
    (out / "mock.json").write_text(json.dumps(described))


def save_as_read(tfds, builder, path: pathlib.Path) -> None:
    """Saves images and scalars by split, place and name: `train/3/attributes/Bald`.

    JPEGs are decoded with the accurate transform, which is not TensorFlow's default.
    """
    import tensorflow as tf

    @tfds.decode.make_decoder()
    def accurately(encoded, feature):
        return tf.io.decode_jpeg(
            encoded, channels=feature.shape[-1], dct_method="INTEGER_ACCURATE"
        )

    decoders = {"image": accurately()} if builder.name in ("celeb_a", "pets") else None
    # Read one file after another, in order.
    config = tfds.ReadConfig(interleave_cycle_length=1)
    scalars = {}
    for split in builder.info.splits:
        dataset = builder.as_dataset(split=split, read_config=config, decoders=decoders)
        for place, example in enumerate(tfds.as_numpy(dataset)):
            for name, value in example.items():
                members = value if isinstance(value, dict) else {"": value}
                for member, scalar in members.items():
                    scalars[f"{split}/{place}/{name}/{member}".rstrip("/")] = scalar
    np.savez(path, **scalars)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
