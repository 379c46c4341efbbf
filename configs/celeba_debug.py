"""The CelebA model at 32 px and a tenth of its width: the whole system in a minute.

python -m pipeline.prepare --input=DIR --output=DIR --image_size=32 --shard_size=64
python -m trainer.train --config=configs/celeba_debug.py --dataset=DIR --workdir=DIR

It checks that everything runs; its pictures do not matter.
"""

from ml_collections import ConfigDict

from configs import celeba


def get_config() -> ConfigDict:
    """Returns small settings, on top of `configs/celeba.py`."""
    config = celeba.get_config()
    config.latent_dim = 8
    config.encoder_filters = (8, 16, 32)
    config.decoder_filters = (32, 16, 8)
    config.global_batch_size = 16
    config.num_train_steps = 100
    config.log_every_steps = 10
    config.image_every_steps = 50
    config.eval_every_steps = 50
    return config
