"""Published protocols with a figure to meet on MNIST."""

from tests.published import readings
from tests.published.readings import GLOROT_UNIFORM, setting
from tests.published.rows import (
    Row,
    adam,
    averaging,
    batch,
    bernoulli_elbo,
    drawn_pixels,
    grey_pixels,
    latents,
    learning_rate,
    log_variance_head,
    num_steps,
    num_train_examples,
    perceptrons,
    plain_updates,
    reduction,
    row,
)
from trainer.models.likelihoods import Bernoulli
from trainer.optimization.objectives import ElboObjective

# pytorch/examples, vae/main.py, as of the README with a test loss of 105.59.
PYTORCH: tuple[Row, ...] = (
    *perceptrons("class VAE", (400,), 20, "relu"),
    log_variance_head("VAE.reparameterize"),
    bernoulli_elbo("loss_function: BCE + KLD"),
    reduction("loss_function: BCE + KLD", "sum"),
    *grey_pixels("transforms.ToTensor"),
    learning_rate("optim.Adam(lr=1e-3)", 1e-3),
    *adam("optim.Adam, with PyTorch's decays", 0.9, 0.999),
    *plain_updates("train: optimizer.step"),
    averaging("test: the trained weights", 0.0),
    batch("--batch-size", 128),
    # An epoch ends with a short batch.
    num_steps("--epochs", 10 * 469),
    num_train_examples("datasets.MNIST(train=True)", 60_000),
    row("test", "evaluated_part", ("test", 10_000), readings.evaluated_part),
    row("test", "printed", ("loss",), readings.printed_names("loss", "elbo")),
)

# keras.io, "Variational AutoEncoder".
KERAS: tuple[Row, ...] = (
    latents("Build the encoder: latent_dim", 2),
    row(
        "Build the encoder",
        "encoder",
        (
            *("Conv2D 32 3x3/2 same", "relu", "Conv2D 64 3x3/2 same", "relu"),
            *("Flatten", "Dense 16", "relu", "Dense 2", "Dense 2"),
        ),
        readings.layers("encoder"),
    ),
    row(
        "Build the encoder: summary",
        "encoder_parameters",
        69_076,
        readings.num_parameters("encoder"),
    ),
    row(
        "Build the decoder",
        "decoder",
        (
            *("Dense 3136", "relu"),
            *("Conv2DTranspose 64 3x3/2 same", "relu"),
            *("Conv2DTranspose 32 3x3/2 same", "relu"),
            "Conv2DTranspose 1 3x3/1 same",
        ),
        readings.layers("decoder"),
    ),
    row(
        "Build the decoder: summary",
        "decoder_parameters",
        65_089,
        readings.num_parameters("decoder"),
    ),
    row("Build the decoder", "output", (28, 28, 1), readings.output_shape),
    row("Build the encoder: filters", "filters", (32, 64), setting("encoder_filters")),
    row(
        "Build the encoder: kernels of 3",
        "kernel_size",
        3,
        setting("layer_defaults.kernel_size"),
    ),
    row(
        "Build the encoder, the decoder: Keras's initializer",
        "initial_kernels",
        [],
        readings.strays(GLOROT_UNIFORM),
    ),
    row(
        "Build the encoder, the decoder: Keras's initializer",
        "initial_biases",
        [],
        readings.nonzero_biases,
    ),
    log_variance_head("Create a sampling layer"),
    bernoulli_elbo("train_step: reconstruction_loss + kl_loss"),
    reduction("train_step: reduce_mean of both", "mean"),
    *grey_pixels("Train the VAE: mnist_digits"),
    learning_rate("Train the VAE: keras.optimizers.Adam()", 1e-3),
    *adam("Train the VAE: keras.optimizers.Adam()", 0.9, 0.999),
    row(
        "Train the VAE: keras.optimizers.Adam()",
        "epsilon",
        1e-7,
        setting("adam_epsilon"),
        readings.optimizer("epsilon"),
    ),
    *plain_updates("train_step: apply_gradients"),
    batch("Train the VAE: batch_size", 128),
    # An epoch ends with a short batch.
    num_steps("Train the VAE: epochs", 30 * 547),
    num_train_examples("Train the VAE: mnist_digits", 70_000),
)

# benchmark_VAE, examples/scripts/reproducibility/vae.py.
_EPOCH = 50_000 // 100
STATIC: tuple[Row, ...] = (
    *perceptrons("class Encoder, class Decoder", (400,), 40, "relu"),
    log_variance_head("class Encoder: log_covariance"),
    bernoulli_elbo("VAEConfig(reconstruction_loss='bce')"),
    reduction("VAE.loss_function: mean over the batch", "mean"),
    # The images are black or white already, so nothing draws them anew.
    *grey_pixels("np.loadtxt(binarized_mnist_train.amat)"),
    *adam("BaseTrainerConfig: Adam, with PyTorch's decays", 0.9, 0.999),
    row(
        "BaseTrainerConfig: learning_rate=1e-4, and MultiStepLR with the milestones "
        "200 and 350 and the factor 10^(-1/5)",
        "learning_rates",
        tuple(1e-4 * 10 ** (-stage / 5) for stage in range(3) for _ in range(2)),
        readings.rates(
            (
                *(0, 200 * _EPOCH - 1, 200 * _EPOCH, 350 * _EPOCH - 1),
                *(350 * _EPOCH, 500 * _EPOCH - 1),
            )
        ),
    ),
    *plain_updates("BaseTrainer: optimizer.step"),
    averaging("BaseTrainer: best_model", 0.0),
    batch("BaseTrainerConfig: per_device_train_batch_size=100", 100),
    num_steps("BaseTrainerConfig: num_epochs=500", 500 * _EPOCH),
    row("BaseTrainer: train_dataset", "train_split", "train", setting("train_split")),
    row(
        "BaseTrainer: eval_dataset",
        "eval_split",
        "validation",
        setting("eval_split"),
    ),
    row(
        "BaseTrainer: an evaluation after each epoch",
        "evaluated",
        (0, _EPOCH, 2 * _EPOCH),
        readings.first_steps("evaluated"),
    ),
)

# Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (2016), section 5
# and the first architecture of appendix C.
_ENDS = (0, 1, 4, 13, 40, 121, 364, 1093, 3280)
_EDGES = tuple(
    3000 * epoch + offset
    for first, end in zip(_ENDS[:-1], _ENDS[1:], strict=True)
    for epoch, offset in ((first, 0), (end, -1))
)
IWAE: tuple[Row, ...] = (
    *perceptrons("Section 5: one stochastic layer", (200, 200), 50, "tanh"),
    log_variance_head("Section 5: exp of the predicted variances"),
    row(
        "Section 5: heuristic of Glorot and Bengio",
        "initial_kernels",
        [],
        readings.strays(GLOROT_UNIFORM),
    ),
    bernoulli_elbo("Table 1: VAE, k = 1"),
    row(
        "Table 1: IWAE, k = 5",
        "importance_weighted_loss",
        ElboObjective(
            Bernoulli(),
            beta=1.0,
            warmup_steps=0,
            free_bits=0.0,
            num_samples=5,
            num_values=784,
        ),
        readings.objective_with(num_importance_samples=5),
    ),
    *drawn_pixels("Section 5: binarization by drawing"),
    *adam("Section 5: Adam", 0.9, 0.999),
    row(
        "Section 5: Adam",
        "epsilon",
        1e-4,
        setting("adam_epsilon"),
        readings.optimizer("epsilon"),
    ),
    row(
        "Section 5: 0.001 * 10^(-i/7), first and last step of 3^i passes",
        "learning_rates",
        tuple(1e-3 * 10 ** (-stage / 7) for stage in range(8) for _ in range(2)),
        readings.rates(_EDGES),
    ),
    *plain_updates("Section 5: Adam"),
    num_train_examples("Section 5: MNIST", 60_000),
    batch("Section 5: minibatches", 20),
    num_steps("Section 5: 3280 passes", 3280 * 60_000 // 20),
)
