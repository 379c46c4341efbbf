"""Plans a dataset of latents from the plan of its images."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import contract
from pipeline.planning import dataset_settings, plan
from pipeline.sources import Listing

# A setting, because the rounding of latents depends on it. Batches never span shards.
BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings that decide the latents.

    Attributes:
        model: Digest of the model.
        images: Digest of the dataset of images. For raw images, the settings for a
            dataset of them.
    """

    model: str
    images: str | dataset_settings.Settings

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as the manifest holds them."""
        is_dataset = isinstance(self.images, str)
        images = {"dataset": self.images} if is_dataset else self.images.to_dict()
        return {**images, "model": self.model, "batch_size": BATCH_SIZE}


def of_dataset(
    manifest: contract.Manifest, settings: Settings
) -> dict[str, tuple[plan.PlannedShard, contract.ShardInfo]]:
    """Returns each shard of latents with the shard of its images, by name.

    Example:
        >>> image = contract.Feature("uint8", (1, 1, 1))
        >>> info = contract.ShardInfo("d-test.tfrecord-00000-of-00001", 2, 99, "ab")
        >>> splits = {"test": contract.SplitInfo((info,))}
        >>> manifest = contract.Manifest("d", {}, "", {"image": image}, splits)
        >>> shards = of_dataset(manifest, Settings("model", manifest.digest))
        >>> [planned.num_images for planned, _ in shards.values()]
        [2]
    """
    return {
        info.name: (
            plan.PlannedShard(
                info.name,
                split,
                index,
                info.num_examples,
                _fingerprint(settings, dataclasses.asdict(info)),
            ),
            info,
        )
        for split, split_info in manifest.splits.items()
        for index, info in enumerate(split_info.shards)
    }


def of_source(
    listing: Listing, images: dataset_settings.Settings, settings: Settings
) -> Iterator[plan.ShardPlan]:
    """Yields plans for the shards that a dataset of the images would have.

    Raises:
        DatasetError: As for `plan.shard_plans`.
    """
    return (
        dataclasses.replace(
            shard_plan,
            shard=dataclasses.replace(
                shard_plan.shard,
                fingerprint=_fingerprint(settings, shard_plan.shard.fingerprint),
            ),
        )
        for shard_plan in plan.shard_plans(listing, images)
    )


def _fingerprint(settings: Settings, images: Any) -> str:
    header = {
        "schema_version": contract.SCHEMA_VERSION,
        "settings": settings.to_dict(),
        "images": images,
    }
    text = json.dumps(header, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def latent_features(
    features: Mapping[str, contract.Feature], latent_dim: int
) -> dict[str, contract.Feature]:
    """Returns the features of a record of latents, with the image's labels."""
    latents = contract.Feature("float32", (latent_dim,))
    return {
        "key": features["key"],
        **dict.fromkeys(contract.LATENTS, latents),
        **{
            name: feature
            for name, feature in features.items()
            if feature.dtype == "int64"
        },
    }
