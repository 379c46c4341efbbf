"""The VAE of benchmark_VAE's reproductions, on statically binarised MNIST.

python -m pipeline.prepare --source=binarized_mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_static.py --dataset=DIR --workdir=DIR
python -m trainer.evaluate --workdir=DIR --split=test --num_importance_samples=200

784-400-40 with ReLU, and Adam for 500 epochs of 500 batches. The learning rate falls
after 200 and 350 epochs. Published negative log-likelihood of the test set, with 200
draws: 89.78, of the epoch with the best validation loss. `trainer.evaluate` scores the
last epoch.

Source: examples/scripts/reproducibility of github.com/clementchadebec/benchmark_VAE:
README.md (the figure) and vae.py (all settings).
"""

from ml_collections import ConfigDict

from configs import mnist_hafner

EPOCH_STEPS = 50_000 // 100


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = mnist_hafner.get_config()
    config.eval_split = "validation"

    config.latent_dim = 40
    config.encoder_units = (400,)
    config.decoder_units = (400,)
    config.posterior_scale = "log_var"

    config.learning_rate = 1e-4
    config.learning_rate_steps = (200 * EPOCH_STEPS, 350 * EPOCH_STEPS)
    config.learning_rate_factors = (10 ** (-1 / 5), 10 ** (-2 / 5))

    config.num_train_steps = 500 * EPOCH_STEPS
    config.log_every_steps = EPOCH_STEPS
    config.image_every_steps = 50 * EPOCH_STEPS
    config.eval_every_steps = EPOCH_STEPS
    config.num_picture_samples = 25
    config.show_latents = False
    config.show_strip = False
    config.eval_line = "Epoch {epoch:.0f} loss of the validation set {loss:.2f}"
    return config
