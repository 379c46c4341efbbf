"""The one-layer VAE and IWAE of Burda, Grosse and Salakhutdinov (2016), on MNIST.

python -m pipeline.prepare --source=mnist --input=DIR --output=DIR
python -m trainer.train --config=configs/mnist_iwae.py --dataset=DIR --workdir=DIR
python -m trainer.evaluate --workdir=DIR --split=test --num_importance_samples=5000

784-200-200-50 with tanh, pixels binarised anew in each step, Adam with epsilon 1e-4,
and batches of 20. Training has eight stages of 3^i epochs of 60,000 images, the splits
train and validation; each stage divides the learning rate by 10^(1/7). With
--config.num_importance_samples=5 the model is the IWAE of five samples. Published
negative log-likelihoods: VAE 86.76, IWAE 85.54.
"""

from ml_collections import ConfigDict

from configs import mnist_hafner

EPOCH_STEPS = 60_000 // 20
NUM_STAGES = 8


def stage_end(stage: int) -> int:
    """Returns the last step of a stage of 3^stage epochs."""
    return EPOCH_STEPS * (3 ** (stage + 1) - 1) // 2


def get_config() -> ConfigDict:
    """Returns the settings of the original."""
    config = mnist_hafner.get_config()
    config.train_split = "train+validation"
    config.binarize = "dynamic"

    config.latent_dim = 50
    config.posterior_scale = "log_var"
    config.update_from_flattened_dict({"layer_defaults.activation": "tanh"})

    config.learning_rate_steps = tuple(map(stage_end, range(NUM_STAGES - 1)))
    config.learning_rate_factors = tuple(
        10 ** (-stage / 7) for stage in range(1, NUM_STAGES)
    )
    config.adam_epsilon = 1e-4

    config.global_batch_size = 20

    config.num_train_steps = stage_end(NUM_STAGES - 1)
    config.log_every_steps = 1000
    config.image_every_steps = 10 * EPOCH_STEPS
    config.eval_every_steps = 10 * EPOCH_STEPS
    config.num_picture_samples = 25
    config.show_strip = False
    config.eval_line = "Epoch {epoch:.0f} elbo {elbo:.2f}"
    return config
