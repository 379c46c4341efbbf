"""Computes the importance-weighted NLL by trainer.analysis and by plain NumPy loops."""

import importlib
from typing import Any

import numpy as np

from pipeline import contract

_CONFIG = "mnist_iwae"
_BATCH_SIZE = 5000


class Estimate:
    """An untrained model, a dataset of digits, and several estimates of -log p(x)."""

    def __init__(self, dataset: str, num_images: int, num_draws: int) -> None:
        """Makes the model.

        Args:
            dataset: Directory of a dataset of 28 px digits, with a test split.
            num_images: Number of leading test images used to estimate -log p(x).
            num_draws: Number of draws per image.
        """
        from trainer.numerics import exact
        from trainer.runs import state, trained

        exact.configure()
        self._num_images, self._num_draws = num_images, num_draws
        config = importlib.import_module(f"configs.{_CONFIG}").get_config()
        manifest = contract.load_manifest(dataset)
        vae = state.make_state(config, manifest).ema_vae
        self._run = trained.TrainedRun(config, manifest, dataset, vae, step=0)
        self._layers = _weights(vae.decoder)
        batch = next(iter(self._run.batches("test", min(num_images, 100))))
        self._images = batch["image"].reshape(len(batch["image"]), -1)
        inputs: list[Any] = [batch["input"], batch["conditions"]]
        mean, log_var = vae.encode(*inputs)
        self._means = mean.numpy()
        self._stddevs = np.exp(log_var.numpy() / 2)
        self._rng = np.random.default_rng(0)

    def score(self, num_draws: int) -> dict[str, float]:
        """Returns all scores of the test images; 0 draws leave out -log p(x)."""
        from trainer.analysis import scores

        return scores.score_images(self._run, "test", num_draws, self._num_images)

    def multiply(self) -> None:
        """Computes only the decoder's matrix products, in float32: the limit."""
        num_left = self._num_images * self._num_draws
        x = self._rng.standard_normal(
            (_BATCH_SIZE, self._means.shape[1]), dtype=np.float32
        )
        while num_left > 0:
            h = x[:num_left]
            for kernel, _ in self._layers:
                h = h @ kernel
            num_left -= _BATCH_SIZE

    def loop_over_draws(self, number: int) -> None:
        """Computes the weight of one draw of one image."""
        self._log_weights(number % len(self._images), 1)

    def loop_over_images(self, number: int) -> float:
        """Returns -log p(x) of one image, from all of its draws at once."""
        log_weights = self._log_weights(number % len(self._images), self._num_draws)
        most = log_weights.max()
        return -float(most + np.log(np.mean(np.exp(log_weights - most))))

    def _log_weights(self, index: int, num: int) -> np.ndarray:
        mean, stddev = self._means[index], self._stddevs[index]
        noise = self._rng.standard_normal((num, len(mean)), dtype=np.float32)
        z = h = mean + stddev * noise
        for kernel, bias in self._layers[:-1]:
            h = np.tanh(h @ kernel + bias)
        kernel, bias = self._layers[-1]
        logits = h @ kernel + bias
        target = (self._images[index] + 1) / 2
        cross_entropy = (
            np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
        )
        return (
            -cross_entropy.sum(axis=1)
            + (noise**2 - z**2).sum(axis=1) / 2
            + np.log(stddev).sum()
        )


def _weights(decoder: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    arrays = [np.asarray(variable) for variable in decoder.trainable_variables]
    return list(zip(arrays[::2], arrays[1::2], strict=True))
