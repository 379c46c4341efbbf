"""Checks of an experiment's settings: ranges, choices, and valid combinations.

The code that makes the model checks the settings that depend on the dataset, such as
the number of filters for its image size.
"""

import math
from collections.abc import Collection, Mapping

from ml_collections import ConfigDict

CHOICES: Mapping[str, tuple[str | int, ...]] = {
    "binarize": ("none", "threshold", "dynamic"),
    "condition": ("none", "label", "attributes"),
    "decoder_start": ("deconv", "dense"),
    "downsample": ("stride", "max_pool"),
    "last_stride": (1, 2),
    "learning_rate_schedule": ("constant", "cosine"),
    "likelihood": ("bernoulli", "gaussian", "logistic_mixture"),
    "likelihood_scale": ("fixed", "learned", "optimal"),
    "loss_reduction": ("mean", "sum"),
    "objective": ("weighted_mse", "elbo"),
    "output_activation": ("tanh", "linear"),
    "posterior_scale": ("log_var", "softplus"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "reader": ("records", "tf_data"),
    "reconstruction_draw": ("mean", "sample"),
}
_AT_LEAST_ONE = (
    "latent_dim",
    "base_size",
    "log_every_steps",
    "image_every_steps",
    "eval_every_steps",
    "keep_checkpoints",
    "num_picture_pairs",
    "num_picture_samples",
    "loss_scale_growth_steps",
)
_AT_LEAST_ZERO = (
    "shuffle_block_size",
    "keep_best_checkpoints",
    "keep_checkpoint_every_steps",
    "num_picture_traversals",
    "checkpoint_every_secs",
)
_FRACTIONS = (
    "batch_norm_momentum",
    "ema_decay",
    "adam_beta_1",
    "adam_beta_2",
    "rmsprop_decay",
)
_SIZES = (
    "encoder_filters",
    "encoder_units",
    "decoder_units",
    "decoder_filters",
    "classifier_filters",
    "classifier_units",
)
_POSITIVE = ("learning_rate", "adam_epsilon", "rmsprop_epsilon", "likelihood_stddev")
# Larger layers are typing errors, and could fill the memory before an error is found.
_MAX_SIZE = 65_536
# Largest seed of Keras, which draws the initial weights.
_MAX_SEED = 2**32 - 1


def check(config: ConfigDict) -> None:
    """Checks all settings except the settings of the batch.

    Raises:
        ValueError: If a setting is out of range, or settings exclude each other.
    """
    named = (
        *_AT_LEAST_ONE,
        *_AT_LEAST_ZERO,
        *_FRACTIONS,
        *_SIZES,
        *_POSITIVE,
        *CHOICES,
    )
    for name in named:
        if name not in config:
            raise ValueError(
                f"the config file lacks the setting {name}: add it, as in "
                "configs/celeba.py"
            )
    for name in _AT_LEAST_ONE:
        if config[name] < 1:
            raise ValueError(f"config.{name}={config[name]} must be at least 1")
    for name in _AT_LEAST_ZERO:
        if config[name] < 0:
            raise ValueError(f"config.{name}={config[name]} must not be negative")
    for name in _FRACTIONS:
        if not 0 <= config[name] < 1:
            raise ValueError(f"config.{name}={config[name]} must be in [0, 1)")
    check_sizes(config)
    for name in _POSITIVE:
        if not config[name] > 0:
            raise ValueError(f"config.{name}={config[name]} must be positive")
    if not 0 <= config.seed <= _MAX_SEED:
        raise ValueError(f"config.seed={config.seed} must be from 0 to {_MAX_SEED}")
    if config.num_train_steps < -1:
        raise ValueError(
            f"config.num_train_steps={config.num_train_steps} must be a number of "
            "steps, or -1 for no limit"
        )
    for name, allowed in CHOICES.items():
        if config[name] not in allowed:
            raise ValueError(
                f"config.{name}={config[name]!r} must be one of "
                f"{', '.join(map(str, allowed))}"
            )
    if config.show_strip and not config.show_latents:
        raise ValueError(
            "config.show_strip=True also shows latents: set config.show_latents=True"
        )
    if not 0 <= config.gradient_clip_norm < math.inf:
        raise ValueError(
            f"config.gradient_clip_norm={config.gradient_clip_norm} must be a "
            "finite number of at least 0, where 0 turns clipping off"
        )
    _check_corruption(config)
    _check_semi_supervised(config)
    settled = config.copy_and_resolve_references()
    settled.learning_rate_decay_steps = decay_steps(config)
    _check_schedule(settled)


def check_best(config: ConfigDict) -> None:
    """Checks that the best checkpoints of a new run are not chosen by the test split.

    Raises:
        ValueError: If they are.
    """
    number, split = config.keep_best_checkpoints, config.eval_split
    if number and "test" in split.split("+"):
        raise ValueError(
            f"config.keep_best_checkpoints={number} would choose checkpoints by the "
            f"test split (config.eval_split={split}): set "
            "config.eval_split=validation, or config.keep_best_checkpoints=0"
        )


def check_splits(config: ConfigDict, splits: Collection[str]) -> None:
    """Checks that the dataset has the splits of a run.

    Args:
        config: Settings of the run.
        splits: Names of the dataset's splits.

    Raises:
        ValueError: If a split is missing.
    """
    for flag in ("train_split", "eval_split"):
        for name in config[flag].split("+"):
            if name not in splits:
                raise ValueError(
                    f"config.{flag}={config[flag]} names the split {name!r}, but the "
                    f"dataset has only {', '.join(splits)}: set it to one of "
                    "these, or give another `dataset`"
                )


def decay_steps(config: ConfigDict) -> int:
    """Returns `learning_rate_decay_steps`; a cosine decay of 0 steps ends with the run.

    Example:
        >>> config = ConfigDict({"learning_rate_schedule": "cosine"})
        >>> config.learning_rate_decay_steps, config.num_train_steps = 0, 500
        >>> decay_steps(config)
        500
    """
    if config.learning_rate_schedule == "constant" or config.learning_rate_decay_steps:
        return config.learning_rate_decay_steps
    return max(config.num_train_steps, 0)


def check_sizes(config: ConfigDict) -> None:
    """Checks the sizes of layers and latents, before a network is built.

    Raises:
        TypeError: If sizes are not a list, which only a damaged config.json has.
        ValueError: If a size is out of range or no whole number.
    """
    for name in _SIZES:
        sizes = config[name]
        if not isinstance(sizes, list | tuple):
            raise TypeError(f"config.{name} must be a list of sizes")
        if not all(isinstance(size, int) and 1 <= size <= _MAX_SIZE for size in sizes):
            raise ValueError(
                f"config.{name}={sizes} must be whole numbers from 1 to {_MAX_SIZE}, "
                "as in (32,64)"
            )
    if config.latent_dim > _MAX_SIZE:
        raise ValueError(
            f"config.latent_dim={config.latent_dim} must be at most {_MAX_SIZE}"
        )


def _check_corruption(config: ConfigDict) -> None:
    if config.input_noise_stddev < 0:
        raise ValueError(
            f"config.input_noise_stddev={config.input_noise_stddev} must not be "
            "negative"
        )
    if not 0 <= config.input_drop_fraction < 1:
        raise ValueError(
            f"config.input_drop_fraction={config.input_drop_fraction} must be in [0, 1)"
        )


def _check_semi_supervised(config: ConfigDict) -> None:
    fraction = config.labelled_fraction
    if not 0 < fraction <= 1:
        raise ValueError(f"config.labelled_fraction={fraction} must be in (0, 1]")
    if config.classifier_weight < 0:
        raise ValueError(
            f"config.classifier_weight={config.classifier_weight} must not be negative"
        )
    if fraction == 1:
        return
    for name, needed in (
        ("condition", "label"),
        ("objective", "elbo"),
        # Free bits and the optimal likelihood scale are computed from a whole batch,
        # but here a batch holds each image with each class.
        ("free_bits", 0.0),
        ("likelihood_scale", "fixed"),
    ):
        if config[name] != needed:
            raise ValueError(
                f"config.labelled_fraction={fraction} needs "
                f"config.{name}={needed}, not {config[name]!r}; to train without a "
                "classifier, set config.labelled_fraction=1"
            )


def _check_schedule(config: ConfigDict) -> None:
    _check_factors(config)
    schedule = config.learning_rate_schedule
    warmup, end = config.learning_rate_warmup_steps, config.learning_rate_decay_steps
    for name in ("learning_rate_warmup_steps", "learning_rate_decay_steps"):
        if config[name] < 0:
            raise ValueError(f"config.{name}={config[name]} must not be negative")
    if not 0 <= config.learning_rate_final_factor <= 1:
        raise ValueError(
            f"config.learning_rate_final_factor={config.learning_rate_final_factor} "
            "must be in [0, 1]"
        )
    if schedule == "constant":
        for name in ("learning_rate_decay_steps", "learning_rate_final_factor"):
            if config[name]:
                raise ValueError(
                    f"config.{name}={config[name]} applies only to a decaying "
                    "learning rate: set config.learning_rate_schedule=cosine"
                )
    elif not end:
        raise ValueError(
            f"config.learning_rate_schedule={schedule} needs a last step, but a run "
            f"with config.num_train_steps={config.num_train_steps} has none: set "
            "`config.learning_rate_decay_steps`"
        )
    elif warmup >= end:
        raise ValueError(
            f"config.learning_rate_warmup_steps={warmup} must be fewer than the "
            f"{end} steps of the decay (`config.learning_rate_decay_steps`, or "
            "`config.num_train_steps`)"
        )


def _check_factors(config: ConfigDict) -> None:
    steps = tuple(config.learning_rate_steps)
    factors = tuple(config.learning_rate_factors)
    are_growing = list(steps) == sorted(set(steps)) and all(step > 0 for step in steps)
    if len(steps) != len(factors) or not are_growing:
        raise ValueError(
            f"config.learning_rate_steps={steps} must be increasing steps above 0, "
            f"and config.learning_rate_factors={factors} must have as many values"
        )
