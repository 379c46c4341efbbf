"""A. Royer, "Variational Auto-encoders" (2017), on CelebA: a post and its notebook."""

from tests.published import readings
from tests.published.readings import setting
from tests.published.rows import (
    Row,
    adam,
    averaging,
    latents,
    learning_rate,
    log_variance_head,
    num_steps,
    plain_updates,
    row,
)
from trainer.optimization.objectives import MeanSquaredErrorObjective


def _block(convolution: str) -> tuple[str, ...]:
    return convolution, "BatchNormalization 0.99", "relu"


_ENCODER = (
    *_block("Conv2D 32 5x5/2 same"),
    *_block("Conv2D 64 5x5/2 same"),
    *_block("Conv2D 64 5x5/2 same"),
    *_block("Conv2D 128 5x5/2 same"),
    *_block("Conv2D 256 5x5/2 same"),
    "Flatten",
    "Dense 100",
    "Dense 100",
)
_DECODER = (
    *_block("Conv2DTranspose 256 4x4/1 valid"),
    *_block("Conv2DTranspose 128 5x5/2 same"),
    *_block("Conv2DTranspose 64 5x5/2 same"),
    *_block("Conv2DTranspose 64 5x5/2 same"),
    *_block("Conv2DTranspose 32 5x5/2 same"),
    "Conv2DTranspose 3 3x3/2 same",
    "tanh",
)
# Kernels, and a scale and an offset for each filter with batch norm. Only the heads and
# the image layer have biases.
_ENCODER_PARAMETERS = (
    25 * (3 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 256)
    + 2 * 544
    + 2 * (4 * 4 * 256 * 100 + 100)
)
_DECODER_PARAMETERS = (
    16 * 100 * 256
    + 25 * (256 * 128 + 128 * 64 + 64 * 64 + 64 * 32)
    + 2 * 544
    + (9 * 32 * 3 + 3)
)

ROYER: tuple[Row, ...] = (
    row(
        "Training: SIZE",
        "image_size",
        128,
        readings.default_image_size("celeba"),
        lambda system: readings.input_shape(system)[0],
    ),
    row("Inputs pipeline", "pixels", (-1.0, 1.0), readings.pixels),
    row("Inputs pipeline", "binarization", "none", setting("binarize")),
    latents("Training: NUM_DIMS", 100),
    row(
        "Training: NUM_ENCODER_FILTERS",
        "encoder_filters",
        (32, 64, 64, 128, 256),
        setting("encoder_filters"),
    ),
    row(
        "Training: NUM_DECODER_FILTERS",
        "decoder_filters",
        (256, 128, 64, 64, 32),
        setting("decoder_filters"),
    ),
    row("Architecture: Encoder", "encoder", _ENCODER, readings.layers("encoder")),
    row("Architecture: Decoder", "decoder", _DECODER, readings.layers("decoder")),
    row(
        "Architecture: normalizer_decay",
        "batch_norm_momentum",
        0.99,
        setting("batch_norm_momentum"),
    ),
    row(
        "Architecture: Encoder, final block of 4 x 4",
        "encoder_maps",
        ((64, 64, 32), (32, 32, 64), (16, 16, 64), (8, 8, 128), (4, 4, 256)),
        readings.maps("encoder"),
    ),
    row(
        "Architecture: Decoder, upscaled from 4 x 4",
        "decoder_maps",
        ((4, 4, 256), (8, 8, 128), (16, 16, 64), (32, 32, 64), (64, 64, 32)),
        readings.maps("decoder"),
    ),
    row(
        "Architecture: Decoder, outputs",
        "output",
        (128, 128, 3),
        readings.output_shape,
    ),
    row(
        "Architecture: Encoder",
        "encoder_parameters",
        _ENCODER_PARAMETERS,
        readings.num_parameters("encoder"),
    ),
    row(
        "Architecture: Decoder",
        "decoder_parameters",
        _DECODER_PARAMETERS,
        readings.num_parameters("decoder"),
    ),
    row(
        "Architecture: weights_initializer, Xavier",
        "initial_kernels",
        [],
        readings.strays(readings.GLOROT_UNIFORM),
    ),
    log_variance_head("Architecture: Encoder, outputs"),
    row(
        "Loss function",
        "loss",
        MeanSquaredErrorObjective(1.0, 0.005, 128 * 128 * 3),
        readings.objective,
    ),
    row("Loss function", "loss_reduction", "mean", setting("loss_reduction")),
    row(
        "Loss function: get_pixel_loss",
        "pixel_weight",
        1.0,
        setting("pixel_weight"),
    ),
    row(
        "Training: LATENT_LOSS_WEIGHT",
        "latent_weight",
        0.005,
        setting("latent_weight"),
        lambda system: system.objective.latent_weight,
    ),
    learning_rate("Training: LEARNING_RATE", 1e-3),
    *adam("Training: ADAM_MOMENTUM, and TensorFlow's beta_2", 0.95, 0.999),
    *plain_updates("Training: optimizer.minimize(loss)"),
    row(
        "Training: BATCH_SIZE, for each GPU",
        "batch_size",
        64,
        setting("per_replica_batch_size"),
        setting("global_batch_size"),
        lambda system: readings.batch_size(num_replicas=4)(system) / 4,
    ),
    row(
        "Training: GPU_MEM_FRAC",
        "gpu_memory_fraction",
        1.0,
        setting("gpu_memory_fraction"),
    ),
    averaging("Training, several GPUs: ExponentialMovingAverage", 0.9995),
    num_steps("Training: output, Step 289169", 289_169),
    row(
        "Training: SAVE_SUMMARIES_STEPS",
        "summaries",
        (100, 200, 300),
        readings.first_steps("logged"),
    ),
    row(
        "Training: SAVE_CHECKPOINT_SECS",
        "checkpoint_secs",
        600,
        setting("checkpoint_every_secs"),
    ),
    row(
        "Training: printed line",
        "printed",
        ("step", "loss"),
        readings.printed_names("step", "loss"),
    ),
    row(
        "Training: NUM_ROWS, pairs of original and reconstruction",
        "reconstructions",
        25,
        setting("num_picture_pairs"),
    ),
    row(
        "Training: NUM_ROWS, samples",
        "samples",
        25,
        setting("num_picture_samples"),
    ),
    row(
        "Training: reconstruction_grid", "drawn", "mean", setting("reconstruction_draw")
    ),
    row("Results: nearest neighbours", "neighbours", True, setting("show_neighbours")),
)
