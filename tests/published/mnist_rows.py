"""Three published VAEs of MNIST, and the code that they print."""

import math

from tests.published import readings
from tests.published.readings import GLOROT_UNIFORM, Law, setting
from tests.published.rows import (
    Row,
    adam,
    averaging,
    batch,
    bernoulli_elbo,
    grey_pixels,
    learning_rate,
    log_variance_head,
    num_steps,
    num_train_examples,
    perceptrons,
    plain_updates,
    reduction,
    row,
    softplus_head,
    thresholded_pixels,
)


def _figures(elbo: float, loss: float) -> dict[str, float]:
    return {"elbo": elbo, "loss": loss, "recon_nll": 140.0, "kl": 6.5}


# D. Hafner, "Building Variational Auto-Encoders in TensorFlow" (2018).
HAFNER: tuple[Row, ...] = (
    *perceptrons(
        "Defining the Network", (200, 200), 2, "relu", ("LogVarFromSoftplus",)
    ),
    softplus_head("Defining the Network: scale of make_encoder", floor=0.0),
    row(
        "Defining the Network: tf.layers.dense, with TensorFlow's initializer",
        "initial_kernels",
        [],
        readings.strays(GLOROT_UNIFORM),
    ),
    row(
        "Defining the Network: tf.layers.dense, with TensorFlow's initializer",
        "initial_biases",
        [],
        readings.nonzero_biases,
    ),
    bernoulli_elbo("Code: elbo, the mean of likelihood - divergence"),
    reduction("Code: elbo, the mean of likelihood - divergence", "mean"),
    *grey_pixels("Code: mnist.train"),
    learning_rate("Code: AdamOptimizer(0.001)", 1e-3),
    *adam("Code: AdamOptimizer, with TensorFlow's decays", 0.9, 0.999),
    *plain_updates("Code: optimizer.minimize(-elbo)"),
    averaging("Code: the ELBO of the trained weights", 0.0),
    batch("Code: next_batch(100)", 100),
    num_steps("Code: range(20) epochs of range(600) steps", 20 * 600),
    num_train_examples("Code: mnist.train", 55_000),
    row(
        "Code: mnist.test", "evaluated_part", ("test", 10_000), readings.evaluated_part
    ),
    row(
        "Code: test_elbo, before each epoch",
        "evaluated",
        (0, 600, 1200),
        readings.first_steps("evaluated"),
    ),
    row(
        "Code: print('Epoch', epoch, 'elbo', test_elbo)",
        "printed",
        "Epoch 2 elbo -150.25",
        readings.printed(1200, **_figures(elbo=-150.25, loss=151.0)),
    ),
    row(
        "Code: plot_codes and plot_samples, before each epoch",
        "pictured",
        (0, 600, 1200),
        readings.first_steps("pictured"),
    ),
    row("Code: prior.sample(10)", "samples", 10, setting("num_picture_samples")),
    row("Code: plot_codes", "scatter", True, setting("show_latents")),
    row(
        "Code: a row of subplots for each epoch",
        "strip",
        ("latents/scatter", "samples/sampled"),
        readings.strip,
    ),
)

# "Variational Auto Encoder", with the class VariationalAutoencoder(784, [200, 100]).
# Normal draws of that many values reach beyond three standard deviations.
_SCALED_NORMAL = Law(lambda fan_in, fan_out: 2 / math.sqrt(fan_in), (3, math.inf))
DENSE: tuple[Row, ...] = (
    *perceptrons(
        "VariationalAutoencoder: hidden_layer_sizes",
        (200,),
        100,
        "relu",
        ("LogVarFromSoftplus",),
    ),
    softplus_head("VariationalAutoencoder: stddev", floor=1e-6),
    row(
        "DenseLayer: W",
        "initial_kernels",
        [],
        readings.strays(_SCALED_NORMAL),
    ),
    row("DenseLayer: b", "initial_biases", [], readings.nonzero_biases),
    bernoulli_elbo("VariationalAutoencoder: elbo"),
    reduction("VariationalAutoencoder: elbo, reduce_sum", "sum"),
    *thresholded_pixels("main: X > 0.5"),
    row("RMSPropOptimizer", "optimizer", "RMSprop", readings.optimizer_kind),
    learning_rate("RMSPropOptimizer(learning_rate=0.001)", 1e-3),
    row(
        "RMSPropOptimizer, with TensorFlow's decay",
        "decay",
        0.9,
        setting("rmsprop_decay"),
        readings.optimizer("rho"),
    ),
    row(
        "RMSPropOptimizer, with TensorFlow's momentum",
        "momentum",
        0.0,
        readings.optimizer("momentum"),
    ),
    *plain_updates("RMSPropOptimizer.minimize(-self.elbo)"),
    averaging("transform: the trained weights", 0.0),
    num_train_examples("fit: X", 55_000),
    row(
        "RMSPropOptimizer, with TensorFlow's epsilon",
        "epsilon",
        1e-10,
        setting("rmsprop_epsilon"),
        readings.optimizer("epsilon"),
    ),
    batch("fit: batch_sz=64", 64),
    num_steps("fit: epochs=30 of len(X) // batch_sz", 30 * 859),
    row(
        "fit: j % 100 == 0",
        "logged",
        (100, 200, 300),
        readings.first_steps("logged"),
    ),
    row(
        "fit: cost, divided by batch_sz",
        "printed",
        ("loss",),
        readings.printed_names("loss", "elbo"),
    ),
)

# Notebook 03A of the Duke-Tsinghua machine learning summer school 2017.
# A normal distribution that is cut at two standard deviations keeps 0.88 of one.
_CUT_NORMAL = Law(lambda fan_in, fan_out: 0.0880, (2, 0.2 / 0.0880))
MLSS: tuple[Row, ...] = (
    *perceptrons("Encoder and decoder", (128,), 64, "relu"),
    log_variance_head("Encoder: mean and log variance"),
    row(
        "Layers: truncated normal with 0.1",
        "initial_kernels",
        [],
        readings.strays(_CUT_NORMAL),
    ),
    row("Layers: biases", "initial_biases", [], readings.nonzero_biases),
    bernoulli_elbo("Loss: cross-entropy with KL"),
    reduction("Loss: mean over the batch", "mean"),
    *thresholded_pixels("Training: binarized batches"),
    *plain_updates("Training: no labels, minimize"),
    num_train_examples("Training: batches", 55_000),
    row(
        "Training: validation images",
        "evaluated_part",
        ("validation", 5000),
        readings.evaluated_part,
    ),
    learning_rate("Training: Adam", 1e-3),
    *adam("Training: Adam, with TensorFlow's decays", 0.9, 0.999),
    averaging("Training: pictures of the trained weights", 0.0),
    batch("Training: batches", 100),
    num_steps("Training: iterations", 20_000),
    row(
        "Training: reports",
        "evaluated",
        (0, 1000, 2000),
        readings.first_steps("evaluated"),
    ),
    row(
        "Training: reports",
        "pictured",
        (0, 1000, 2000),
        readings.first_steps("pictured"),
    ),
    row(
        "Training: printed line",
        "printed",
        "Iteration 3000:",
        readings.head_of(readings.printed(3000, **_figures(elbo=-90.0, loss=90.0))),
    ),
    row(
        "Training: originals beside reconstructions",
        "reconstructions",
        5,
        setting("num_picture_pairs"),
    ),
    row(
        "Training: reconstructions, Bernoulli samples",
        "drawn",
        "sample",
        setting("reconstruction_draw"),
    ),
)
