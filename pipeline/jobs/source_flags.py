"""Flags of raw images, and of the splits and shards that they make."""

from typing import Any

from absl import flags

from pipeline import contract, sources
from pipeline.planning import dataset_settings
from pipeline.process import path_flags

_DEFAULTS = dataset_settings.Settings()

INPUT = path_flags.define(
    "input",
    None,
    "The source's directory or file, local or at s3:// or gs://; of a folder also a "
    "pattern.",
    takes_urls=True,
)
SOURCE = flags.DEFINE_string(
    "source", _DEFAULTS.source, f"What --input is: {', '.join(sources.SOURCES)}."
)
_SHARD_SIZE = flags.DEFINE_integer(
    "shard_size", _DEFAULTS.shard_size, "Most images in a shard."
)
_SEED = flags.DEFINE_integer(
    "seed", _DEFAULTS.seed, "Seed of the images' order, and of splits by fractions."
)
_SPLIT_FRACTIONS = flags.DEFINE_string(
    "split_fractions",
    None,
    f"Of the images, for {', '.join(contract.SPLITS)}; unless given, "
    "0.8,0.1,0.1, or the splits that the source has.",
)
_SPLIT_FOLDERS = flags.DEFINE_string(
    "split_folders",
    None,
    "Which of a folder's sub-folders is which split, as in train=Train,test=test1; or "
    "none; unless given, as their names say.",
)
_DEDUPLICATE = flags.DEFINE_bool(
    "deduplicate", False, "Use only the first of a folder's files of one content."
)
_PREPROCESS = flags.DEFINE_string(
    "preprocess",
    None,
    "Your own function, PACKAGE.MODULE:FUNCTION, on the pixels of every image before "
    "the crop: [height, width, channels] uint8 to the same.",
)
MAX_REJECTED_FRACTION = flags.DEFINE_float(
    "max_rejected_fraction",
    0.001,
    "More than this part of the images rejected is an error.",
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
        deduplicate=_DEDUPLICATE.value,
        preprocess=_PREPROCESS.value,
        **image_settings,
    )


def check_absent() -> None:
    """Checks that none of these flags is given, for commands without raw images.

    Raises:
        DatasetError: If one of them is given; the text names it.
    """
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        if flag.present:
            raise contract.DatasetError(
                f"--{flag.name} is for raw images, and --dataset is given: leave one "
                "of them out"
            )
