"""Copies the parts of a VAE to plain Keras layers, which load without this package.

Our layers are Keras's own with another `call`, so a copy needs only their settings and
weights. The copy computes in float32, whatever the precision of the run.
"""

from typing import Any

import keras

from trainer.models import layers
from trainer.models.batch_norm import BatchNormalization
from trainer.models.likelihoods import ScaledGaussian
from trainer.models.vae import VAE

_PLAIN = {
    layers.Conv2D: keras.layers.Conv2D,
    layers.Conv2DTranspose: keras.layers.Conv2DTranspose,
    layers.Dense: keras.layers.Dense,
    layers.Activation: keras.layers.Activation,
    BatchNormalization: keras.layers.BatchNormalization,
}


def make_encoder(vae: VAE) -> keras.Model:
    """Returns the model from images to their posterior.

    Returns:
        A model from `[b, size, size, c]` in [-1, 1] to a dictionary of
        `posterior_mean` and `posterior_log_var`, `[b, latent_dim]` each. A conditional
        model takes the pair of images and `[b, num_conditions]`.
    """
    copy = _copy(vae.encoder)
    mean, log_var = copy.outputs
    outputs = {"posterior_mean": mean, "posterior_log_var": log_var}
    return keras.Model(copy.input, outputs, name="encoder")


def make_decoder(vae: VAE) -> keras.Model:
    """Returns the model from latents to the mean image of p(x|z).

    Returns:
        A model from `[b, latent_dim]` to `[b, size, size, c]` in [-1, 1]. A conditional
        model takes the pair of latents and `[b, num_conditions]`.
    """
    copy = _copy(vae.decoder)
    (outputs,) = copy.outputs
    if not isinstance(vae.likelihood, ScaledGaussian):
        outputs = vae.likelihood.mean(outputs)
    return keras.Model(copy.input, outputs, name="decoder")


def make_classifier(vae: VAE) -> keras.Model | None:
    """Returns the model from images to class probabilities, or None without classifier.

    Returns:
        A model from `[b, size, size, c]` in [-1, 1] to `[b, num_classes]`.
    """
    if vae.classifier is None:
        return None
    copy = _copy(vae.classifier)
    (logits,) = copy.outputs
    return keras.Model(copy.input, keras.ops.softmax(logits), name="classifier")


def _copy(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(
        model, clone_function=_plain_layer, call_function=_call
    )
    for layer in model.layers:
        if type(layer) in _PLAIN:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, (layers.LogVarFromSoftplus, layers.AppendLogScale)):
        return layer
    plain = _PLAIN.get(type(layer), type(layer))
    return plain.from_config({**layer.get_config(), "dtype": "float32"})


def _call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    if isinstance(layer, layers.LogVarFromSoftplus):
        # Inline the operations of the layer, because a copy holds only Keras layers.
        return layer.call(*args, **kwargs)
    if isinstance(layer, layers.AppendLogScale):
        # The mean image does not include the scale.
        return args[0]
    return layer(*args, **kwargs)
