"""Reads an export's description of its model, and checks images against it."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from pipeline import contract
from pipeline.process import wording

# Files that trainer.export writes, below the directory of the export.
DESCRIPTION = "assets.extra/export.json"
_PARTS = ("saved_model.pb", "variables/variables.index")
# Preprocessing settings, which other images must share with the training images.
_IMAGE_SETTINGS = ("image_size", "image_dtype", "resize", "crop_size", "preprocess")


@dataclasses.dataclass(frozen=True)
class Export:
    """The description that an export gives of its model.

    Attributes:
        path: Directory of the export.
        digest: Hex sha256 of the model's weights.
        latent_dim: Number of latents.
        condition: Name of the feature that conditions the model, or None.
        settings: Settings of the dataset that the model was trained on.
        features: Features of a record of the training dataset.
        num_classes: Number of classes, if the condition is a label; else None.
        are_all_known: Whether every image needs a class.
    """

    path: str
    digest: str
    latent_dim: int
    condition: str | None
    settings: Mapping[str, Any]
    features: Mapping[str, contract.Feature]
    num_classes: int | None = None
    are_all_known: bool = True


def read_export(path: str) -> Export:
    """Reads the description of an export.

    Args:
        path: Local directory of the export.

    Raises:
        DatasetError: If the path is a URL, the export is absent, incomplete or damaged,
            or an early release wrote it, without a digest of the model.
    """
    if "://" in path:
        raise contract.DatasetError(
            f"model={path} is in a bucket: copy it to a directory that every worker "
            "sees"
        )
    absent = [name for name in _PARTS if not pathlib.Path(path, name).is_file()]
    if absent and pathlib.Path(path, DESCRIPTION).is_file():
        raise contract.DatasetError(
            f"model={path} is incomplete (missing: {', '.join(absent)}): run "
            "trainer.export again"
        )
    try:
        text = pathlib.Path(path, DESCRIPTION).read_text(encoding="utf-8")
        body = json.loads(text)
        config = body["config"]
        condition = config["condition"]
        has_label_condition = condition == "label" and "num_classes" in config
        return Export(
            path=path,
            digest=str(body["model_digest"]),
            latent_dim=int(config["latent_dim"]),
            num_classes=int(config["num_classes"]) if has_label_condition else None,
            are_all_known=not config.get("labelled_fraction", 1) < 1,
            condition=None if condition == "none" else str(condition),
            settings=dict(body["dataset"]["settings"]),
            features={
                name: contract.Feature(
                    str(feature["dtype"]),
                    tuple(feature["shape"]),
                    tuple(feature["names"]),
                )
                for name, feature in body["dataset"]["features"].items()
            },
        )
    except FileNotFoundError as error:
        raise contract.DatasetError(
            f"model={path} holds no export ({DESCRIPTION} is missing): give the "
            "`output` of trainer.export, at a path that every worker sees"
        ) from error
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise contract.DatasetError(
            f"model={path}: {DESCRIPTION} is damaged, or of an earlier release "
            f"({type(error).__name__}: {error!s:.200}): run trainer.export again"
        ) from error


def image_settings(export: Export, preprocess: str | None) -> dict[str, Any]:
    """Returns the preprocessing settings of the training images, by flag of prepare.

    Args:
        export: Description of the model.
        preprocess: Name of the function that the user's own flag allows, or None. An
            export is a foreign file, so it must not decide which code is imported.

    Raises:
        DatasetError: If the export names another function.
    """
    named = export.settings.get("preprocess")
    if named != preprocess:
        raise contract.DatasetError(_unlike_text(export, named, preprocess))
    return {
        name: export.settings[name]
        for name in _IMAGE_SETTINGS
        if name in export.settings
    }


def _unlike_text(export: Export, named: Any, preprocess: str | None) -> str:
    if preprocess is None:
        return (
            f"model={export.path}: {DESCRIPTION} names the function {named!r:.200}, "
            "which this call would import and call on every image: to allow this, "
            f"give preprocess={named!r:.200}; otherwise give another `model`"
        )
    description = "no function" if named is None else f"the function {named!r:.200}"
    remedy = "leave the argument out" if named is None else "give that function"
    return (
        f"preprocess={preprocess}: {DESCRIPTION} of model={export.path} names "
        f"{description} for its images: {remedy}, or give another `model`"
    )


def check_images(
    export: Export,
    settings: Mapping[str, Any],
    features: Mapping[str, contract.Feature],
    num_channels: int,
    images: str,
) -> None:
    """Checks that images suit a model, which may not have been trained on them.

    Args:
        export: Description of the model.
        settings: Preprocessing settings of the images, by flag of prepare.
        features: Features of the images' records.
        num_channels: Number of channels of every image.
        images: Argument that gives the images, with its value, for error messages.

    Raises:
        DatasetError: If the images are preprocessed differently from the training
            images, or lack the model's condition.
    """
    differences = [
        f"`{name}={settings.get(name)}`, but {export.settings.get(name)} in training"
        for name in _IMAGE_SETTINGS
        if settings.get(name) != export.settings.get(name)
    ]
    trained_on = export.features["image"].shape[2]
    if num_channels != trained_on:
        differences.append(
            f"{wording.counted(num_channels, 'channel')}, but {trained_on} in training"
        )
    if differences:
        raise contract.DatasetError(
            f"the images of {images} differ from the training images of "
            f"model={export.path} ({'; '.join(differences)}): give images with the "
            "settings of the training, or another `model`"
        )
    name = export.condition
    if name is None:
        return
    if features.get(name) != export.features[name]:
        raise contract.DatasetError(
            f"model={export.path} needs the feature {name!r}, but {images} lacks it "
            "or gives it other names: give other images, or another `model`"
        )
