"""The M2 model of Kingma et al. (2014) on MNIST, with one label in sixty.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_m2.py --dataset=DIR --workdir=DIR

998 of the 60,000 training images keep their label. Expect an accuracy of 89.8% on the
test set and an ELBO of -84.6 after 20 epochs (30 minutes on two CPU cores that other
runs shared). A classifier with the same hidden layer, trained only on the labelled
images, reaches 88.7 to 89.0%.
"""

from ml_collections import ConfigDict

from configs import mnist_hafner


def get_config() -> ConfigDict:
    """Returns the settings."""
    config = mnist_hafner.get_config()
    config.train_split = "train+validation"
    config.binarize = "threshold"
    config.condition = "label"
    config.labelled_fraction = 1 / 60
    config.classifier_weight = 1.0

    config.latent_dim = 50
    config.encoder_units = (256,)
    config.decoder_units = (256,)
    config.posterior_scale = "log_var"

    config.image_every_steps = 1200
    config.eval_every_steps = 1200
    config.num_picture_samples = 100
    config.show_latents = False
    config.show_strip = False
    config.eval_line = "Epoch {epoch:.0f} elbo {elbo:.2f} accuracy {accuracy:.4f}"
    return config
