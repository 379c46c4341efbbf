"""A denoising VAE on MNIST: it reconstructs clean digits from noisy ones.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_denoising.py --dataset=DIR --workdir=DIR
python -m trainer.evaluate --workdir=DIR --split=test

The VAE of `mnist_pytorch`, whose encoder sees every grey value with added noise of
standard deviation 1. Grey values span [-1, 1], so the noise factor is 0.5 where they
span [0, 1]. Expect a mean squared error to the clean test images of 1,136 squared 0-255
levels (`mse_levels`). The noisy images have 16,267, and a plain VAE leaves 2,172.
"""

from ml_collections import ConfigDict

from configs import mnist_pytorch


def get_config() -> ConfigDict:
    """Returns the settings."""
    config = mnist_pytorch.get_config()
    config.input_noise_stddev = 1.0
    config.num_picture_samples = 25
    return config
