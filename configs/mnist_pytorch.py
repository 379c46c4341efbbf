"""The VAE of pytorch/examples (784-400-20-400-784) on MNIST's grey values.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_pytorch.py --dataset=DIR --workdir=DIR

Adam minimises the summed binary cross-entropy + KL for 10 epochs, in batches of 128.
Published mean loss of the test set, with one draw of the posterior: 105.59. Expect
105.7 (1.5 minutes on two CPU cores).
"""

from ml_collections import ConfigDict

from configs import mnist_hafner


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = mnist_hafner.get_config()

    config.latent_dim = 20
    config.encoder_units = (400,)
    config.decoder_units = (400,)
    config.posterior_scale = "log_var"

    config.loss_reduction = "sum"

    config.global_batch_size = 128
    # 60,000 images make 468.75 batches.
    config.num_train_steps = 10 * 60_000 // 128
    config.image_every_steps = 4687
    config.eval_every_steps = 4687
    config.show_latents = False
    config.show_strip = False
    config.eval_line = "Epoch {epoch:.1f} loss of the test set {loss:.2f}"
    return config
