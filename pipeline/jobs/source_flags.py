"""Flags for raw images, and for the splits and shards made from them."""

from typing import Any

from absl import flags

from pipeline import contract, sources
from pipeline.planning import dataset_settings
from pipeline.process import path_flags

_DEFAULTS = dataset_settings.Settings()

INPUT = path_flags.define(
    "input",
    None,
    "Directory or file of the source images (local, s3:// or gs://); for "
    "--source=folder also a pattern or a list, for --source=tfds also a name such as "
    "celeb_a.",
    takes_urls=True,
)
DOWNLOAD = flags.DEFINE_bool(
    "download",
    False,
    "Have TensorFlow Datasets download and prepare the data set that --input names, "
    "for --source=tfds.",
)
SOURCE = flags.DEFINE_string(
    "source", _DEFAULTS.source, f"Layout of --input: {', '.join(sources.SOURCES)}."
)
_SHARD_SIZE = flags.DEFINE_integer(
    "shard_size", _DEFAULTS.shard_size, "Maximum number of images in a shard."
)
_SEED = flags.DEFINE_integer(
    "seed",
    _DEFAULTS.seed,
    "Seed for the order of the images, and for splits by --split_fractions.",
)
_SPLIT_FRACTIONS = flags.DEFINE_string(
    "split_fractions",
    None,
    f"Fractions of the images for {', '.join(contract.SPLITS)}; by default the splits "
    "that the source has, or else 0.8,0.1,0.1.",
)
_SPLIT_FOLDERS = flags.DEFINE_string(
    "split_folders",
    None,
    "Sub-folder of each split for --source=folder, such as train=Train,test=test1, or "
    "the word none for no splits; by default detected from the folder names.",
)
_VALIDATION_IMAGES = flags.DEFINE_integer(
    "validation_images",
    None,
    "Number of images at the start of the training file that become the split "
    "validation, for --source=mnist; by default 5000, or a twelfth of a smaller file.",
)
_DEDUPLICATE = flags.DEFINE_bool(
    "deduplicate",
    False,
    "Keep only the first of several files with equal content, for --source=folder.",
)
_PREPROCESS = flags.DEFINE_string(
    "preprocess",
    None,
    "Your own function PACKAGE.MODULE:FUNCTION, which changes the pixels of every "
    "image before the crop; it takes and returns [height, width, channels] uint8.",
)
MAX_REJECTED_FRACTION = flags.DEFINE_float(
    "max_rejected_fraction",
    None,
    "Largest allowed fraction of rejected images; by default 0.001, or for a small "
    "set 10 images, but at most 5% of all.",
)


def settings(**image_settings: Any) -> dataset_settings.Settings:
    """Returns the settings that the flags and `image_settings` give.

    Raises:
        DatasetError: If a setting is not allowed.
    """
    return dataset_settings.Settings(
        source=SOURCE.value,
        shard_size=_SHARD_SIZE.value,
        seed=_SEED.value,
        split_fractions=dataset_settings.parse_fractions(_SPLIT_FRACTIONS.value),
        split_folders=dataset_settings.parse_folders(_SPLIT_FOLDERS.value),
        validation_images=_VALIDATION_IMAGES.value,
        deduplicate=_DEDUPLICATE.value,
        preprocess=_PREPROCESS.value,
        **image_settings,
    )


def check_absent() -> None:
    """Checks that no flag of this module is given, for a run without raw images.

    Raises:
        DatasetError: If a flag of this module is given; the text names the flag.
    """
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        if flag.present:
            raise contract.DatasetError(
                f"--{flag.name} is for raw images, but --dataset is given: leave one "
                "of the two flags out"
            )
