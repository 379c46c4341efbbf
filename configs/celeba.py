"""The convolutional VAE of A. Royer, "Variational Auto-encoders" (2017), on CelebA.

python -m trainer.train --config=configs/celeba.py --dataset=DIR --workdir=DIR

Prepare the dataset with --image_size=128. The loss is the mean squared error per pixel
plus 0.005 times the KL divergence in nats. Scalars are written every 100 steps, as in
the original. Pictures are written every 1,000 steps. Three grids take 2.3 MB together;
written every 100 steps, they would fill 6.6 GB in the original's 289,169 steps.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = ConfigDict()
    # Seed of the weights, of the order of the records, and of all noise.
    config.seed = 0

    # Data

    # Split to train on; a plus joins several: "train+validation".
    config.train_split = "train"
    # Split that evaluations and pictures use.
    config.eval_split = "validation"
    # Images to reconstruct: unchanged ("none"), or black and white by "threshold" or
    # by a new draw in each step ("dynamic").
    config.binarize = "none"
    # Standard deviation of the noise that a denoising VAE sees.
    config.input_noise_stddev = 0.0
    # Fraction of the values that a denoising VAE sees as black.
    config.input_drop_fraction = 0.0

    # Conditions

    # Condition of a conditional VAE: "none", "label" or "attributes".
    config.condition = "none"
    # Number of classes of the label.
    config.num_classes = 10
    # Fraction of the examples with a known label; below 1 a classifier is trained.
    config.labelled_fraction = 1.0
    # Weight of the classifier's mean cross-entropy in the loss.
    config.classifier_weight = 0.1
    # Filters of the classifier's convolutions, as in encoder_filters. If these and
    # classifier_units are empty, the classifier has the encoder's layers.
    config.classifier_filters = ()
    # Units of the classifier's dense layers, after its convolutions.
    config.classifier_units = ()

    # Model

    # Number of latents.
    config.latent_dim = 100
    # Filters of the encoder's convolutions, which halve the image down to base_size.
    # Without filters, all layers are dense.
    config.encoder_filters = (32, 64, 64, 128, 256)
    # Units of the encoder's dense layers, after its convolutions.
    config.encoder_units = ()
    # Units of the decoder's dense layers, before its convolutions.
    config.decoder_units = ()
    # Filters of the decoder's convolutions, which double the image up from base_size.
    config.decoder_filters = (256, 128, 64, 64, 32)
    # Height and width in pixels between the convolutions and the dense layers.
    config.base_size = 4
    # First layer of the decoder: a "deconv" from one pixel, or a "dense" layer.
    config.decoder_start = "deconv"
    # How the encoder halves an image: "stride" or "max_pool".
    config.downsample = "stride"
    # Stride of the decoder's last convolution; 1 if the convolutions before it
    # reach the image's size.
    config.last_stride = 2
    # Momentum of the moving averages in batch norm.
    config.batch_norm_momentum = 0.99
    # Whether the momentum is at most (1 + n) / (10 + n) after n steps. Without this
    # limit, pictures look broken for the first 500 steps.
    config.batch_norm_warmup = True
    # Whether the encoder sees pixels in [0, 1] instead of [-1, 1].
    config.unit_inputs = False
    # How the posterior's scale is computed: "log_var", or "softplus" plus a floor.
    config.posterior_scale = "log_var"
    # Smallest standard deviation of a "softplus" posterior.
    config.posterior_scale_floor = 0.0
    # Activation of the decoder's image: "tanh" or "linear".
    config.output_activation = "tanh"
    # Settings of every layer.
    config.layer_defaults = ConfigDict(
        {
            "activation": "relu",
            "batch_norm": True,
            "kernel_initializer": "glorot_uniform",
            "kernel_size": 5,
        }
    )
    # Changes for single layers, by part and layer.
    config.layer_overrides = ConfigDict({"decoder/image": {"kernel_size": 3}})

    # Likelihood

    # Likelihood p(x|z): "gaussian", "bernoulli" or "logistic_mixture".
    config.likelihood = "gaussian"
    # Scale of the Gaussian: "fixed", "learned" or "optimal".
    config.likelihood_scale = "fixed"
    # Standard deviation of a Gaussian with a fixed scale.
    config.likelihood_stddev = 1.0
    # Components of a logistic mixture.
    config.num_mixtures = 5

    # Objective

    # "weighted_mse": pixel_weight * mean squared error + latent_weight * KL; or "elbo":
    # minus the ELBO of the likelihood, changed by the settings from beta to
    # num_importance_samples.
    config.objective = "weighted_mse"
    # Weight of the mean squared error per pixel in "weighted_mse".
    config.pixel_weight = 1.0
    # Weight of the KL divergence in nats in "weighted_mse".
    config.latent_weight = 0.005
    # Weight of the KL divergence in "elbo".
    config.beta = 1.0
    # First steps over which beta grows linearly from 0.
    config.kl_warmup_steps = 0
    # KL divergence in nats per latent that costs nothing.
    config.free_bits = 0.0
    # Draws of the posterior in the importance-weighted bound; 1 for the ELBO.
    config.num_importance_samples = 1
    # Reduction of the loss over the batch: "mean" or "sum".
    config.loss_reduction = "mean"

    # Precision

    # Precision of the layers: "float32"; or "mixed_bfloat16" or "mixed_float16" with
    # weights in float32. With mixed_float16 the loss is scaled up.
    config.precision = "float32"
    # Steps after which the loss scale doubles. It halves when a gradient overflows,
    # which skips the step.
    config.loss_scale_growth_steps = 2000

    # Optimizer

    # Optimizer: "adam" or "rmsprop".
    config.optimizer = "adam"
    # Learning rate after the warmup.
    config.learning_rate = 1e-3
    # Steps from which the rate is learning_rate times the factor at the same index of
    # learning_rate_factors.
    config.learning_rate_steps = ()
    # Factors of learning_rate, one for each step in learning_rate_steps.
    config.learning_rate_factors = ()
    # First steps over which the rate grows linearly from 0.
    config.learning_rate_warmup_steps = 0
    # "constant"; or "cosine", which falls to learning_rate times the final factor.
    config.learning_rate_schedule = "constant"
    # Step at which "cosine" ends; 0 for num_train_steps.
    config.learning_rate_decay_steps = 0
    # Final factor of "cosine".
    config.learning_rate_final_factor = 0.0
    # Largest joint norm of all gradients; 0 for no limit. Gradients with a larger norm
    # are scaled down to it.
    config.gradient_clip_norm = 0.0
    # Decay of Adam's mean of the gradients.
    config.adam_beta_1 = 0.95
    # Decay of Adam's mean of the squared gradients.
    config.adam_beta_2 = 0.999
    # Adam's epsilon.
    config.adam_epsilon = 1e-8
    # Decay of RMSprop's mean of the squared gradients.
    config.rmsprop_decay = 0.9
    # RMSprop's epsilon.
    config.rmsprop_epsilon = 1e-7
    # Decay of the moving average of the weights, for evaluation and pictures.
    config.ema_decay = 0.9995

    # Batch

    # Examples in a step; 0 for the per-replica size times the number of replicas.
    config.global_batch_size = 0
    # Examples of a replica in a step, if global_batch_size is 0.
    config.per_replica_batch_size = 64
    # Number of groups in a batch. Runs with the same number of groups have the same
    # losses on any number of devices that divides this number. 0 chooses a multiple of
    # 4 that the replicas can share, if the batch size allows one.
    config.num_batch_groups = 0
    # Number of slices of a replica's share of a batch. Slices are computed in turn, so
    # a step needs the memory of one slice. Batch norm uses the statistics of each
    # slice.
    config.gradient_accumulation_steps = 1
    # 0 shuffles all records of up to 256 shards together. A larger number shuffles
    # blocks of so many records in each of up to 64 lanes: it reads files almost in
    # order, for disks that are slow at random reads.
    config.shuffle_block_size = 0
    # Reader of the training split: "records", or "tf_data", which returns the same
    # batches, but first reads the whole split into memory.
    config.reader = "records"

    # Cadence

    # Steps of the whole run; -1 for no limit.
    config.num_train_steps = 289_169
    # Steps between log lines and scalars.
    config.log_every_steps = 100
    # Steps between pictures.
    config.image_every_steps = 1000
    # Steps between evaluations.
    config.eval_every_steps = 1000
    # Seconds between checkpoints.
    config.checkpoint_every_secs = 600
    # Number of newest checkpoints that stay.
    config.keep_checkpoints = 3
    # Number of checkpoints with the best ELBO of the evaluated split that stay; 0 if
    # that is the test split.
    config.keep_best_checkpoints = 0
    # Steps between checkpoints that always stay; 0 for none.
    config.keep_checkpoint_every_steps = 0
    # Line that an evaluation prints, with step, epoch, number of the evaluation and any
    # metric by name.
    config.eval_line = "step {step}  {split} loss {loss:.5f}  elbo {elbo:.1f}"

    # Pictures

    # Images in the picture of reconstructions.
    config.num_picture_pairs = 25
    # Reconstruction that pictures show: the "mean" of p(x|z), or a "sample" of it.
    config.reconstruction_draw = "mean"
    # Images in the picture of samples.
    config.num_picture_samples = 25
    # Latents in the picture of traversals; 0 for no picture.
    config.num_picture_traversals = 5
    # Whether to draw a scatter of the evaluated split's latents, by label.
    config.show_latents = False
    # Whether to show samples beside their nearest training images at the run's end.
    config.show_neighbours = True
    # Whether to join scatter and samples of all steps in one picture.
    config.show_strip = False

    # Memory

    # Share of each GPU's memory that TensorFlow may take.
    config.gpu_memory_fraction = 1.0
    return config.lock()
