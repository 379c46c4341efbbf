"""The VAE of notebook 03A of the Duke-Tsinghua machine learning summer school 2017.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_mlss.py --dataset=DIR --workdir=DIR

One hidden layer of 128 units, 64 latents, black or white pixels, and Adam. Training
takes 20,000 steps with batches of 100, with pictures of drawn reconstructions of
validation images every 1,000 steps. Three seeds had a loss of 88.3 ± 0.1 on the test
set, as mean and standard deviation (6 minutes on two cores of an Intel Xeon that other
programs shared).
"""

from ml_collections import ConfigDict

from configs import mnist_hafner


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = mnist_hafner.get_config()
    config.eval_split = "validation"
    config.binarize = "threshold"

    config.latent_dim = 64
    config.encoder_units = (128,)
    config.decoder_units = (128,)
    config.posterior_scale = "log_var"
    kernel_initializer = "truncated_normal_0.1"
    config.update_from_flattened_dict(
        {"layer_defaults.kernel_initializer": kernel_initializer}
    )

    config.num_train_steps = 20_000
    config.image_every_steps = 1000
    config.eval_every_steps = 1000
    config.num_picture_pairs = 5
    config.reconstruction_draw = "sample"
    config.show_strip = False
    config.eval_line = "Iteration {step}: loss {loss:.2f}"
    return config
