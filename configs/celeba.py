"""The convolutional VAE of A. Royer, "Variational Auto-encoders" (2017), on CelebA.

python -m trainer.train --config=configs/celeba.py --dataset=DIR --workdir=DIR

The dataset is prepared with --image_size=128. The loss is the mean squared error per
pixel plus 0.005 times the KL divergence in nats. Scalars are written every 100 steps
as in the original; pictures every 1,000, since three grids, of 2.3 MB together, every
100 steps would fill 6.6 GB before the original's 289,169 steps are made.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = ConfigDict()
    config.seed = 0

    # Model.
    config.latent_dim = 100
    config.encoder_filters = (32, 64, 64, 128, 256)
    config.decoder_filters = (256, 128, 64, 64, 32)
    config.downsample = "stride"  # or "max_pool"
    config.batch_norm_momentum = 0.99

    # Objective: pixel_weight * mean squared error + latent_weight * KL.
    config.pixel_weight = 1.0
    config.latent_weight = 0.005

    # Optimizer: Adam, and a moving average of the weights for what is shown.
    config.learning_rate = 1e-3
    config.adam_beta_1 = 0.95
    config.adam_beta_2 = 0.999
    config.adam_epsilon = 1e-8
    config.ema_decay = 0.9995

    # Batch. A global size of 0 stands for the per-replica size times the replicas.
    config.global_batch_size = 0
    config.per_replica_batch_size = 64
    # Runs with equal groups have equal losses on every number of devices that
    # divides the number of groups. 0 stands for 4, or with more than 4 replicas for
    # the next number that they share.
    config.num_batch_groups = 0
    # Records that are shuffled together, in each of up to 64 lanes.
    config.shuffle_block_size = 32

    # Cadence. -1 steps is no limit.
    config.num_train_steps = 289_169
    config.log_every_steps = 100
    config.image_every_steps = 1000
    config.eval_every_steps = 1000
    config.checkpoint_every_secs = 600
    config.keep_checkpoints = 3

    # Share of each GPU's memory that TensorFlow may take.
    config.gpu_memory_fraction = 1.0
    return config.lock()
