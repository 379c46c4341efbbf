"""A user's image files as examples, for the modes of trainer.generate."""

import dataclasses

import numpy as np

from trainer.analysis import examples, user_images
from trainer.generation.requests import Request
from trainer.runs.trained import TrainedRun


def examples_of(run: TrainedRun, request: Request) -> examples.Examples:
    """Returns the images of a request as examples; their keys are the paths.

    Args:
        run: Trained run.
        request: Request with images. Its `where` is the condition of all images.

    Raises:
        ValueError: If an image cannot be read, or the model needs a condition that the
            request does not have.
    """
    assert request.image is not None
    condition = {}
    if request.where is not None:
        name, value = examples.parse_where(request.where, run.manifest.features)
        condition[name] = [value]
    elif run.config.condition == "label" and not run.conditioning.has_classifier:
        raise ValueError(
            "the model needs the label of `image`: give where=label=NUMBER"
        )
    elif run.config.condition == "attributes":
        raise ValueError(
            "the model needs the attributes of `image`, which only Python programs can "
            "give: trainer.load_run(PATH).reconstruct(IMAGES, attributes=VALUES)"
        )
    images = user_images.UserImages(run.manifest, request.preprocess)
    parts = list(images.examples(run, request.image, condition))
    return dataclasses.replace(
        examples.concatenate(parts), keys=np.array(request.image)
    )
