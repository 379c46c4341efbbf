"""Linear baseline: reconstructions by a PCA with as many components as latents.

    b, n  images        D  values of an image        k  components

Images come as a stream of batches `[b, height, width, channels]` in [-1, 1].
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from trainer.analysis import image_metrics

_CHUNK_IMAGES = 500

# Each merge keeps only the strongest directions. With 50 spare components, the error on
# 1,521 images is within a thousandth of the error of a PCA on all images at once.
_SPARE_COMPONENTS = 50


@dataclasses.dataclass(frozen=True)
class Pca:
    """Affine subspace of images.

    Attributes:
        mean: `[height, width, channels]` float32.
        components: `[k, D]` float32, orthonormal rows, strongest first.
    """

    mean: np.ndarray
    components: np.ndarray

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Returns the coordinates `[b, k]` of images `[b, height, width, channels]`.

        Raises:
            ValueError: If the images have another shape than the fitted images.
        """
        _check_shape(images, self.mean.shape)
        vectors = (images - self.mean).astype(np.float32).reshape(len(images), -1)
        return vectors @ self.components.T

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Returns the nearest images in the subspace, float32, not clipped.

        Args:
            images: `[b, height, width, channels]`.

        Raises:
            ValueError: If the images have another shape than the fitted images.
        """
        vectors = self.encode(images) @ self.components
        return vectors.reshape(images.shape) + self.mean


@dataclasses.dataclass(frozen=True)
class ReconstructionError:
    """Mean squared error over all values of all images.

    Attributes:
        per_value: Mean squared error in squared units of [-1, 1].
        per_value_levels: The same error in squared 8-bit levels.
    """

    per_value: float
    per_value_levels: float


def fit_pca(batches: Iterable[np.ndarray], num_components: int) -> Pca:
    """Returns the principal components of a stream of images, in one pass.

    The fit holds fewer than 1,000 images at once, and merges them with the components
    so far. A merge is an SVD of stacked rows: the components times their singular
    values, the centred images, and one row for the difference of the means. The SVD
    comes from the Gram matrix of the rows, whose side is the number of rows.
    scikit-learn's IncrementalPCA merges in the same way, but its float64 SVD takes
    several times as long. Here images are float32; the sums for the means and the
    decomposition of the Gram matrix are float64.

    Args:
        batches: Batches `[b, height, width, channels]` of any b.
        num_components: k.

    Raises:
        ValueError: If k is not positive, there are fewer than k images, or batches
            differ in the shape of their images.

    Source:
        Ross, Lim, Lin and Yang, "Incremental Learning for Robust Visual Tracking"
        (2008), section 3.1, for the merge.

    Example:
        >>> images = np.linspace(-1, 1, 5)[:, None, None, None] * np.ones([2, 2, 3])
        >>> pca = fit_pca([images], num_components=1)
        >>> bool(np.allclose(pca.reconstruct(images), images, atol=1e-6))
        True
    """
    if num_components < 1:
        raise ValueError(f"num_components={num_components} must be positive")
    image_shape, num_seen = None, 0
    mean, scaled = np.zeros(0), np.zeros([0, 0], np.float32)
    for images in _chunks(batches):
        if image_shape is None:
            image_shape = images.shape[1:]
            mean = np.zeros(math.prod(image_shape))
            scaled = np.zeros([0, len(mean)], np.float32)
        vectors = images.reshape(len(images), -1)
        chunk_mean = vectors.mean(axis=0, dtype=np.float64)
        num_both = num_seen + len(vectors)
        shift = (chunk_mean - mean) * math.sqrt(num_seen * len(vectors) / num_both)
        centred = (vectors - chunk_mean.astype(np.float32)).astype(np.float32)
        stacked = np.concatenate([scaled, centred, shift.astype(np.float32)[None]])
        scaled = _strongest(stacked, num_components + _SPARE_COMPONENTS)
        mean += (chunk_mean - mean) * (len(vectors) / num_both)
        num_seen = num_both
    if image_shape is None or num_seen < num_components:
        raise ValueError(
            f"{num_components} components need at least as many images, not {num_seen}"
        )
    # Orthonormalise, because rounding tilts weak components towards strong components.
    basis = np.linalg.qr(scaled[:num_components].T)[0]
    return Pca(
        mean=mean.astype(np.float32).reshape(image_shape),
        components=np.ascontiguousarray(basis.T),
    )


def reconstruction_error(
    pca: Pca, batches: Iterable[np.ndarray]
) -> ReconstructionError:
    """Returns the mean squared error of the reconstructions of a stream of images.

    Args:
        pca: PCA of images of the same shape.
        batches: Batches `[b, height, width, channels]`.

    Raises:
        ValueError: If there is no image, or images have another shape.

    Example:
        >>> pca = Pca(mean=np.zeros([1, 1, 2]), components=np.array([[1.0, 0.0]]))
        >>> reconstruction_error(pca, [np.ones([3, 1, 1, 2])])
        ReconstructionError(per_value=0.5, per_value_levels=8128.125)
    """
    total, num_values = 0.0, 0
    for images in batches:
        differences = images - pca.reconstruct(images)
        total += float(np.sum(differences**2, dtype=np.float64))
        num_values += images.size
    if not num_values:
        raise ValueError("there is no image to reconstruct")
    error = total / num_values
    return ReconstructionError(error, error * image_metrics.LEVELS_PER_UNIT**2)


def _check_shape(images: np.ndarray, image_shape: tuple[int, ...]) -> None:
    if images.ndim != 4 or images.shape[1:] != image_shape:
        raise ValueError(
            f"images {images.shape} must be a batch of images of shape {image_shape}"
        )


def _chunks(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the images of all batches in chunks of 500 to 999, and then the rest."""
    image_shape, chunk, num_images = None, [], 0
    for batch in batches:
        image_shape = image_shape or batch.shape[1:]
        _check_shape(batch, image_shape)
        for start in range(0, len(batch), _CHUNK_IMAGES):
            part = batch[start : start + _CHUNK_IMAGES]
            chunk.append(part)
            num_images += len(part)
            if num_images >= _CHUNK_IMAGES:
                yield np.concatenate(chunk)
                chunk, num_images = [], 0
    if chunk:
        yield np.concatenate(chunk)


def _strongest(vectors: np.ndarray, num_kept: int) -> np.ndarray:
    """Returns the first `num_kept` rows of S V, where U S V is the SVD of `vectors`."""
    gram = (vectors @ vectors.T).astype(np.float64)
    # Eigenvalues come in ascending order.
    left = np.linalg.eigh(gram)[1][:, ::-1][:, :num_kept]
    return left.T.astype(np.float32) @ vectors
