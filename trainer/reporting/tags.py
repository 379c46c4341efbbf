"""TensorBoard's tags of the scalars, pictures and histograms of a run.

TensorBoard sorts the groups of its cards by name and opens the first two. The groups of
this table make it open on the terms of the objective and on the pictures. metrics.jsonl
and the directories of `images/` have the names of the values, without a group.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tag:
    """A tag and its description.

    Attributes:
        name: Tag in TensorBoard, with the group before the slash.
        description: Markdown that TensorBoard shows beside a card.
    """

    name: str
    description: str


_NATS = "in nats per image"
_SCALARS = {
    "loss": Tag("objective/loss", "Quantity that the optimizer minimises."),
    "elbo": Tag(
        "objective/elbo",
        f"Minus `recon_nll` minus `kl`, {_NATS}. Higher is better.",
    ),
    "kl": Tag("objective/kl", f"KL divergence of q(z|x) from the prior, {_NATS}."),
    "recon_nll": Tag(
        "objective/recon_nll", f"Minus log p(x|z) under a draw of q(z|x), {_NATS}."
    ),
    "pixel_loss": Tag(
        "objective/pixel_loss", "Mean squared error per pixel, times `pixel_weight`."
    ),
    "latent_loss": Tag("objective/latent_loss", "KL divergence times `latent_weight`."),
    "label_kl": Tag(
        "objective/label_kl", f"KL divergence of q(y|x) from the prior, {_NATS}."
    ),
    "classifier_loss": Tag(
        "objective/classifier_loss", "Weighted cross-entropy of the classifier."
    ),
    "accuracy": Tag(
        "objective/accuracy", "Share of the examples that the classifier gets right."
    ),
    "latents/mean": Tag(
        "posterior/mean", "Mean of q(z|x), averaged over latents and images."
    ),
    "latents/variance": Tag(
        "posterior/variance", "Variance of q(z|x), averaged over latents and images."
    ),
    "active_units": Tag(
        "posterior/active_units",
        "Number of latents whose posterior mean varies among the images.",
    ),
    "memorisation_ratio": Tag(
        "samples/memorisation_ratio",
        "Distance of samples to training images, divided by the distance of other "
        "images to training images. A value far below 1 means memorised images.",
    ),
    "images_per_second": Tag("system/images_per_second", "Throughput of training."),
    "data_wait_percent": Tag(
        "system/data_wait_percent",
        "Share of the training time in which the devices waited for a batch.",
    ),
    "memory/process_mib": Tag(
        "system/process_mib", "Resident memory of the chief's process, in MiB."
    ),
    "memory/gpu_peak_mib": Tag(
        "system/gpu_peak_mib", "Peak memory of tensors on the fullest GPU, in MiB."
    ),
    "learning_rate": Tag("training/learning_rate", "Learning rate of the last step."),
    "beta": Tag(
        "training/beta", "Weight of the KL divergence relative to -log p(x|z)."
    ),
    "gradient_norm": Tag(
        "training/gradient_norm", "Joint norm of all gradients, before clipping."
    ),
}
_PICTURES = {
    "reconstruction": Tag(
        "pictures/reconstruction",
        "Images of the evaluated split, each followed by its reconstruction.",
    ),
    "samples/sampled": Tag("pictures/samples", "Decoded draws from the prior."),
    "samples/interpolated": Tag(
        "pictures/samples_interpolated", "Equal steps between two draws from the prior."
    ),
    "samples/neighbours": Tag(
        "pictures/samples_neighbours",
        "Samples, each followed by its nearest training image.",
    ),
    "latents/scatter": Tag(
        "pictures/scatter",
        "Posterior means of the evaluated split, in two dimensions.",
    ),
    "latents/traversed": Tag(
        "pictures/traversals",
        "Each row varies one latent of an image from −3 to 3. The latents with the "
        "largest KL divergence come first.",
    ),
    "dataset/overview": Tag("setup/dataset_overview", "Some images of the dataset."),
}
_HISTOGRAMS = {
    "latents/kl": Tag(
        "posterior/kl_of_latents",
        "KL divergence of each latent in nats, over the evaluated split.",
    )
}
_EARLIER = {
    name: tag.name for name, tag in (_SCALARS | _PICTURES | _HISTOGRAMS).items()
}


def of_scalar(name: str) -> Tag:
    """Returns the tag of a scalar; a name without an entry is a term of an objective.

    Example:
        >>> of_scalar("gradient_norm").name, of_scalar("hinge").name
        ('training/gradient_norm', 'objective/hinge')
    """
    return _SCALARS.get(name) or Tag(f"objective/{name}", "")


def of_picture(name: str) -> Tag:
    """Returns the tag of a picture, by the directory of its files in `images/`.

    Example:
        >>> of_picture("samples/sampled").name, of_picture("drawn").name
        ('pictures/samples', 'pictures/drawn')
    """
    return _PICTURES.get(name) or Tag(f"pictures/{name}", "")


def of_histogram(name: str) -> Tag:
    """Returns the tag of a histogram.

    Example:
        >>> of_histogram("latents/kl").name
        'posterior/kl_of_latents'
    """
    return _HISTOGRAMS[name]


def of_earlier(tag: str) -> str:
    """Returns the tag of a series that an earlier version wrote without these groups.

    Example:
        >>> [of_earlier(tag) for tag in ("loss", "objective/loss", "config")]
        ['objective/loss', 'objective/loss', 'config']
    """
    return _EARLIER.get(tag, tag)
