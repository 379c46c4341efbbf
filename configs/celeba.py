"""The convolutional VAE of A. Royer, "Variational Auto-encoders" (2017), on CelebA.

python -m trainer.train --config=configs/celeba.py --dataset=DIR --workdir=DIR

Prepare the dataset with --image_size=128. The loss is the mean squared error per pixel
plus 0.005 times the KL divergence in nats. Scalars are written every 100 steps, as in
the original. Pictures are written every 1,000 steps: three grids take 2.3 MB together,
and every 100 steps they would fill 6.6 GB over the original's 289,169 steps.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = ConfigDict()
    config.seed = 0

    # Data. A plus joins several splits: "train+validation".
    config.train_split = "train"
    config.eval_split = "validation"
    # Images to reconstruct: unchanged ("none"), or black and white by "threshold" or
    # by a new draw in each step ("dynamic").
    config.binarize = "none"
    # A denoising VAE sees the image with noise, and a fraction of its values black.
    config.input_noise_stddev = 0.0
    config.input_drop_fraction = 0.0

    # Conditions of a conditional VAE: "label", one of num_classes, or "attributes".
    config.condition = "none"
    config.num_classes = 10
    # Below 1, only this fraction of the examples has a known label, and a classifier is
    # trained. The loss adds classifier_weight times its mean cross-entropy on them.
    config.labelled_fraction = 1.0
    config.classifier_weight = 0.1

    # Model: convolutional blocks that halve the image down to base_size, dense layers
    # of so many units each, and the reverse. Without filters, all layers are dense.
    config.latent_dim = 100
    config.encoder_filters = (32, 64, 64, 128, 256)
    config.encoder_units = ()
    config.decoder_units = ()
    config.decoder_filters = (256, 128, 64, 64, 32)
    config.base_size = 4
    config.decoder_start = "deconv"  # From one pixel to base_size; or a "dense" layer.
    config.downsample = "stride"  # or "max_pool"
    config.last_stride = 2  # Of the decoder; 1 if its other blocks reach image size.
    config.batch_norm_momentum = 0.99
    config.unit_inputs = False  # Whether the encoder sees [0, 1] instead of [-1, 1].
    config.posterior_scale = "log_var"  # or "softplus", plus a floor.
    config.posterior_scale_floor = 0.0
    config.output_activation = "tanh"  # or "linear"
    # Settings of every layer, and changes for single layers.
    config.layer_defaults = ConfigDict(
        {
            "activation": "relu",
            "batch_norm": True,
            "kernel_initializer": "glorot_uniform",
            "kernel_size": 5,
        }
    )
    config.layer_overrides = ConfigDict({"decoder/image": {"kernel_size": 3}})

    # Likelihood: "gaussian" with a fixed, learned or optimal scale; "bernoulli"; or
    # "logistic_mixture".
    config.likelihood = "gaussian"
    config.likelihood_scale = "fixed"
    config.likelihood_stddev = 1.0
    config.num_mixtures = 5

    # Objective: pixel_weight * mean squared error + latent_weight * KL; or the "elbo"
    # of the likelihood, with the settings from beta on.
    config.objective = "weighted_mse"
    config.pixel_weight = 1.0
    config.latent_weight = 0.005
    config.beta = 1.0
    config.kl_warmup_steps = 0
    config.free_bits = 0.0
    config.num_importance_samples = 1
    config.loss_reduction = "mean"  # or "sum" over the batch

    # Precision of the layers: "float32"; or "mixed_bfloat16" or "mixed_float16" with
    # weights in float32. With mixed_float16 the loss is scaled up. The scale doubles
    # after so many steps; it halves when a gradient overflows, which skips the step.
    config.precision = "float32"
    config.loss_scale_growth_steps = 2000

    # Optimizer, and a moving average of the weights for evaluation and pictures.
    config.optimizer = "adam"  # or "rmsprop"
    config.learning_rate = 1e-3
    # From each of these steps on, the rate is learning_rate times the factor.
    config.learning_rate_steps = ()
    config.learning_rate_factors = ()
    # Number of first steps over which the rate grows linearly from 0.
    config.learning_rate_warmup_steps = 0
    # With "cosine" the rate falls to learning_rate times the final factor at the step
    # learning_rate_decay_steps; 0 means num_train_steps.
    config.learning_rate_schedule = "constant"
    config.learning_rate_decay_steps = 0
    config.learning_rate_final_factor = 0.0
    # Largest joint norm of all gradients; larger ones are scaled down. 0 for no limit.
    config.gradient_clip_norm = 0.0
    config.adam_beta_1 = 0.95
    config.adam_beta_2 = 0.999
    config.adam_epsilon = 1e-8
    config.rmsprop_decay = 0.9
    config.rmsprop_epsilon = 1e-7
    config.ema_decay = 0.9995

    # Batch. A global size of 0 means the per-replica size times the number of replicas.
    config.global_batch_size = 0
    config.per_replica_batch_size = 64
    # Runs with the same number of groups have the same losses on every number of
    # devices that divides it. 0 chooses a multiple of 4 that the replicas can share, if
    # the batch size allows one.
    config.num_batch_groups = 0
    # Slices of a replica's share of a batch. They are computed one after another, in
    # the memory of one slice. Batch norm then takes the statistics of a slice.
    config.gradient_accumulation_steps = 1
    # Records that are shuffled together in each of up to 64 lanes.
    config.shuffle_block_size = 32

    # Cadence. -1 training steps means no limit.
    config.num_train_steps = 289_169
    config.log_every_steps = 100
    config.image_every_steps = 1000
    config.eval_every_steps = 1000
    config.checkpoint_every_secs = 600
    # Checkpoint retention: number of newest checkpoints, number of best checkpoints by
    # the evaluated split's ELBO, and steps between checkpoints that always stay; 0 for
    # none.
    config.keep_checkpoints = 3
    config.keep_best_checkpoints = 0
    config.keep_checkpoint_every_steps = 0
    # Line that an evaluation prints: step, epoch, and any metric by name.
    config.eval_line = "step {step}  {split} loss {loss:.5f}  elbo {elbo:.1f}"

    # Pictures.
    config.num_picture_pairs = 25
    config.reconstruction_draw = "mean"  # or a "sample" of p(x|z)
    config.num_picture_samples = 25
    config.num_picture_traversals = 5  # Latents in the picture of traversals; or 0.
    config.show_latents = False  # Scatter of the evaluated split's latents, by label.
    # At the end of the run, show samples beside their nearest training images.
    config.show_neighbours = True
    config.show_strip = False  # One picture with scatter and samples of all steps.

    # Share of each GPU's memory that TensorFlow may take.
    config.gpu_memory_fraction = 1.0
    return config.lock()
