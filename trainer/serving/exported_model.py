"""The averaged model of a run, as functions of users' images.

The end of a signature's name says which of three image forms it takes:

    encode               pixels       [n, h, w, c] uint8, any one size per call
    encode_jpeg          image_bytes  [n] strings, files of any sizes
    encode_preprocessed  image        [n, s, s, c] float32 in [-1, 1], as in records

The same forms exist for `reconstruct`, and for `classify` if the run has a classifier.
`decode` and `sample` turn latents into images: float32 `image` and uint8 `pixels`. If
the model is conditional, all of these signatures except `classify` also take `label` or
`attributes`, as in the records.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from trainer.data.corruption import fixed_binarization
from trainer.generation import sampling
from trainer.runs.trained import TrainedRun
from trainer.serving import jpeg, plain_keras, preprocessing


class ExportedModel:
    """The averaged model of a run, with images of any size as inputs.

    Attributes:
        config: Settings of the run.
        preprocess: Function from images of any size to images as in the dataset.
        encoder: Encoder in plain Keras.
        decoder: Decoder in plain Keras.
        classifier: Classifier in plain Keras, or None.
        description: JSON text that says which run and dataset the model comes from.
    """

    def __init__(self, run: TrainedRun) -> None:
        """Copies the weights of the run.

        Raises:
            ValueError: If a graph cannot preprocess images like the dataset's.
        """
        self.config = run.config
        self._conditioning = run.conditioning
        self.preprocess = preprocessing.of_dataset(run.manifest)
        self._image_shape = run.manifest.image_shape
        self._features = run.manifest.features
        self.description = json.dumps(describe(run), indent=1)
        self.encoder = plain_keras.make_encoder(run.vae)
        self.decoder = plain_keras.make_decoder(run.vae)
        self.classifier = plain_keras.make_classifier(run.vae)

    def keras_models(self) -> dict[str, keras.Model]:
        """Returns the plain Keras models by name."""
        parts = (self.encoder, self.decoder, self.classifier)
        return {part.name: part for part in parts if part is not None}

    def encode(self, image: tf.Tensor, **conditions: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `posterior_mean` and `posterior_log_var`, `[n, latent_dim]`."""
        return self.encoder(
            self._with_conditions(self._binarized(image), conditions),
            training=False,
        )

    def decode(self, z: tf.Tensor, **conditions: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the mean of p(x|z) as `image` and `pixels`."""
        image = self.decoder(self._with_conditions(z, conditions), training=False)
        return {"image": image, "pixels": preprocessing.to_levels(image)}

    def reconstruct(
        self, image: tf.Tensor, **conditions: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the posterior mean of images, decoded as by `decode`."""
        return self.decode(
            self.encode(image, **conditions)["posterior_mean"], **conditions
        )

    def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the `probability` of each class, `[n, num_classes]`."""
        assert self.classifier is not None
        return {"probability": self.classifier(self._binarized(image), training=False)}

    def sample(
        self,
        num_samples: tf.Tensor,
        seed: tf.Tensor,
        temperature: tf.Tensor,
        **conditions: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns prior draws as `z`, and their images as from `decode`."""
        noise = sampling.prior_noise(num_samples, self.config.latent_dim, seed)
        z = temperature * noise
        # Repeat conditions as often as needed, as `sampling.decode` does.
        conditions = {
            feature: tf.gather(values, tf.range(num_samples) % tf.shape(values)[0])
            for feature, values in conditions.items()
        }
        return {"z": z, **self.decode(z, **conditions)}

    def describe(self) -> dict[str, tf.Tensor]:
        """Returns the description as `json`."""
        return {"json": tf.constant(self.description)}

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """Returns a concrete function for each signature, by name."""
        conditions = self._condition_specs()
        latents = tf.TensorSpec([None, self.config.latent_dim], tf.float32)
        signatures = {
            "decode": _concrete(self.decode, z=latents, **conditions),
            "sample": _concrete(
                self.sample,
                num_samples=tf.TensorSpec([], tf.int32),
                seed=tf.TensorSpec([], tf.int32),
                temperature=tf.TensorSpec([], tf.float32),
                **conditions,
            ),
            "describe": _concrete(self.describe),
        }
        for ending, (name, spec, to_image) in self._image_forms().items():
            takes = {name: spec}
            for function in (self.encode, self.reconstruct):
                signatures[function.__name__ + ending] = _concrete(
                    _after(to_image, name, function), **takes, **conditions
                )
            if self.classifier is not None:
                signatures["classify" + ending] = _concrete(
                    _after(to_image, name, self.classify), **takes
                )
        signatures["serving_default"] = signatures.get(
            "encode_jpeg", signatures["encode"]
        )
        return signatures

    def _image_forms(
        self,
    ) -> dict[str, tuple[str, tf.TensorSpec, Callable[[tf.Tensor], tf.Tensor]]]:
        """Returns input name, input spec and conversion to images, by name ending."""
        channels = self._image_shape[2]
        forms = {
            "": (
                "pixels",
                tf.TensorSpec([None, None, None, channels], tf.uint8),
                self.preprocess,
            ),
            "_preprocessed": (
                "image",
                tf.TensorSpec([None, *self._image_shape], tf.float32),
                tf.identity,
            ),
        }
        if self.preprocess.function is None:
            spec = tf.TensorSpec([None], tf.string)
            forms["_jpeg"] = ("image_bytes", spec, self._decode_and_preprocess)
        return forms

    def _decode_and_preprocess(self, image_bytes: tf.Tensor) -> tf.Tensor:
        def one(file: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            position, data = file
            name = tf.strings.format("image {} of the batch", position)
            pixels = jpeg.decode_upright(data, self._image_shape[2], name)
            return self.preprocess(pixels[tf.newaxis])[0]

        spec = tf.TensorSpec(self._image_shape, tf.float32)
        positions = tf.range(tf.size(image_bytes))
        return tf.map_fn(one, (positions, image_bytes), fn_output_signature=spec)

    def _binarized(self, image: tf.Tensor) -> tf.Tensor:
        return fixed_binarization(image, self.config.binarize, self.config.seed)

    def _condition_specs(self) -> dict[str, tf.TensorSpec]:
        name = str(self._conditioning.condition)
        if name == "none":
            return {}
        return {name: tf.TensorSpec([None, *self._features[name].shape], tf.int64)}

    def _with_conditions(
        self, x: tf.Tensor, conditions: Mapping[str, tf.Tensor]
    ) -> Any:
        if "label" in conditions:
            self._check_label(conditions["label"])
        return (x, self._conditioning.vectors(conditions)) if conditions else x

    def _check_label(self, label: tf.Tensor) -> None:
        """Refuses labels that are no class, as `Conditioning.check_labels` does."""
        num_classes = self._conditioning.num_classes
        text = f"label must be a class, from 0 to {num_classes - 1}"
        tf.debugging.assert_less(
            label, tf.constant(num_classes, label.dtype), message=text
        )
        if not self._conditioning.has_classifier:
            tf.debugging.assert_non_negative(label, message=text)


def describe(run: TrainedRun) -> dict[str, Any]:
    """Returns the description of an export: digest, settings, dataset, step."""
    manifest = json.loads(run.manifest.to_json())
    names = ("digest", "name", "settings", "source_fingerprint", "image", "features")
    return {
        "step": run.step,
        "model_digest": run.model_digest,
        "config": json.loads(run.config.to_json()),
        "dataset": {name: manifest[name] for name in names},
    }


def _after(
    to_image: Callable[[tf.Tensor], tf.Tensor],
    name: str,
    function: Callable[..., dict[str, tf.Tensor]],
) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns `function` with input `name` in place of its image."""

    def joined(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        image = to_image(inputs.pop(name))
        return function(image, **inputs)

    return joined


def _concrete(function: Callable[..., Any], **specs: tf.TensorSpec) -> Any:
    named = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in specs.items()
    }
    return tf.function(function, autograph=False).get_concrete_function(**named)
