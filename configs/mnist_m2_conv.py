"""The M2 model of Kingma et al. (2014) on MNIST, with a convolutional classifier.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_m2_conv.py --dataset=DIR --workdir=DIR

998 of the 60,000 training images keep their label. Published accuracy of M2 with 1,000
labels: 96.4%. Expect 96.7% on the test set and an ELBO of -100.3 (26 minutes on two CPU
cores that other programs shared).
"""

from ml_collections import ConfigDict

from configs import mnist_m2


def get_config() -> ConfigDict:
    """Returns the settings."""
    config = mnist_m2.get_config()
    # New draws in each step keep the classifier from learning its images by heart.
    config.binarize = "dynamic"

    # At a weight of 1, images without a label undo what the classifier has learned.
    config.classifier_weight = 50.0
    # With few latents, the decoder needs the class to reconstruct an image.
    config.latent_dim = 10
    config.classifier_filters = (16, 32)
    config.classifier_units = (128,)
    config.base_size = 7
    config.downsample = "max_pool"
    config.update_from_flattened_dict({"layer_defaults.kernel_size": 3})

    config.learning_rate_schedule = "cosine"
    config.ema_decay = 0.999

    config.num_train_steps = 40 * 600
    config.image_every_steps = 10 * 600
    config.eval_every_steps = 600
    return config
