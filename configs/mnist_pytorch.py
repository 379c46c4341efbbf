"""The VAE of pytorch/examples (784-400-20-400-784) on MNIST's grey values.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_pytorch.py --dataset=DIR --workdir=DIR

Adam minimises the summed binary cross-entropy + KL for 10 epochs over 60,000 images,
the splits train and validation, in batches of 128. An epoch has 469 batches. The last
batch has 96 images in the original, and 128 here. Published mean loss of the test
set, with one draw of the posterior: 105.59. Expect 105.6 (4 minutes on two cores
of an Intel Xeon that other programs shared).
"""

from ml_collections import ConfigDict

from configs import mnist_hafner


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = mnist_hafner.get_config()
    config.train_split = "train+validation"

    config.latent_dim = 20
    config.encoder_units = (400,)
    config.decoder_units = (400,)
    config.posterior_scale = "log_var"

    config.loss_reduction = "sum"

    config.global_batch_size = 128
    # 60,000 images make 468.75 batches; the original's last batch is short.
    config.num_train_steps = 10 * 469
    config.image_every_steps = 10 * 469
    config.eval_every_steps = 10 * 469
    config.show_latents = False
    config.show_strip = False
    config.eval_line = "Epoch {epoch:.1f} loss of the test set {loss:.2f}"
    return config
