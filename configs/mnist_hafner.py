"""D. Hafner, "Building Variational Auto-Encoders in TensorFlow" (2018), on MNIST.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_hafner.py --dataset=DIR --workdir=DIR

Two hidden layers of 200 units, two latents, a Bernoulli likelihood of the grey values,
and Adam. Training takes 20 epochs of 600 steps with batches of 100, and the ELBO of the
whole test set is computed after each epoch. Three seeds had -170.5 ± 0.7 after one
epoch, -147.3 ± 0.5 after ten and -143.7 ± 0.4 after all 20, as mean and standard
deviation (6 to 8 minutes on two cores of an Intel Xeon that other programs shared).
"""

from ml_collections import ConfigDict

from configs import celeba


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = celeba.get_config()
    config.eval_split = "test"

    config.latent_dim = 2
    config.encoder_filters = ()
    config.encoder_units = (200, 200)
    config.decoder_units = (200, 200)
    config.decoder_filters = ()
    config.unit_inputs = True
    config.posterior_scale = "softplus"
    config.output_activation = "linear"
    config.update_from_flattened_dict({"layer_defaults.batch_norm": False})
    config.layer_overrides = ConfigDict()

    config.likelihood = "bernoulli"
    config.objective = "elbo"

    config.adam_beta_1 = 0.9
    config.ema_decay = 0.0

    config.global_batch_size = 100

    config.num_train_steps = 20 * 600
    config.log_every_steps = 100
    config.image_every_steps = 600
    config.eval_every_steps = 600
    config.num_picture_samples = 10
    config.show_latents = True
    config.show_strip = True
    # The original calls 600 steps an epoch, though 550 steps see all 55,000 images.
    config.eval_line = "Epoch {evaluation} elbo {elbo:.2f}"
    return config
