"""Exact nearest neighbours among all training images, and the memorisation ratio.

q  queries        b  images of a batch        D  values of an image
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Nearest image of each query.

    Attributes:
        keys: Keys of the q images.
        images: `[q, height, width, channels]`, as they were in the stream.
        distances: `[q]` float64, L2 distances over all values in units of [-1, 1].
    """

    keys: tuple[str, ...]
    images: np.ndarray
    distances: np.ndarray


def nearest(
    queries: np.ndarray, batches: Iterable[tuple[Sequence[str], np.ndarray]]
) -> Neighbours:
    """Returns the nearest image of each query in a stream, by L2 distance.

    One float32 matrix product gives all squared distances of a batch,
    |x|^2 + |q|^2 - 2 x.q, up to rounding. The search then takes every image that could
    be the nearest within this rounding, and computes its distance again from float64
    differences. Only the float64 distances decide, so the result does not depend on
    batch sizes, and a copy has distance 0. Among equal distances, the first image in
    the stream wins.

    Args:
        queries: `[q, height, width, channels]` in [-1, 1].
        batches: Pairs of b keys and their images, `[b, height, width, channels]`; one
            batch is in memory at a time.

    Raises:
        ValueError: If shapes or counts do not match, a value is not finite, or there is
            no image.

    Example:
        >>> images = np.array([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
        >>> hits = nearest(np.full([1, 1, 1, 1], 0.8), [(["a", "b", "c"], images)])
        >>> hits.keys, hits.distances.round(6).tolist()
        (('c',), [0.2])
    """
    if queries.ndim != 4:
        raise ValueError(
            f"queries {queries.shape} must be [q, height, width, channels]"
        )
    query_rows = _flattened(queries)
    query_norms = _squared_norms(query_rows)
    best = np.full(len(queries), np.inf)
    keys = [""] * len(queries)
    images: list[np.ndarray | None] = [None] * len(queries)
    for batch_keys, batch in batches:
        if batch.shape[1:] != queries.shape[1:] or len(batch_keys) != len(batch):
            raise ValueError(
                f"{len(batch_keys)} keys, images {batch.shape} and queries "
                f"{queries.shape} do not match"
            )
        if not len(batch):
            continue
        vectors = _flattened(batch)
        norms = _squared_norms(vectors)
        # The BLAS in NumPy's wheels is slower for query_rows @ vectors.T, at times much
        # slower.
        products = (vectors @ query_rows.T).T.astype(np.float64)
        squared = query_norms[:, None] + norms - 2 * products
        margins = _rounding(query_norms, norms, vectors.shape[1])
        bounds = np.minimum(best, np.min(squared + margins, axis=1))
        for query, place in np.argwhere(squared - margins <= bounds[:, None]):
            exact = _squared_distance(queries[query], batch[place])
            if exact < best[query]:
                best[query] = exact
                keys[query] = batch_keys[place]
                # A view would keep the whole batch in memory.
                images[query] = batch[place].copy()
    if len(queries) and not np.isfinite(best).all():
        raise ValueError("there is no image to compare with")
    nearest_images = np.stack(images) if len(queries) else queries
    return Neighbours(keys=tuple(keys), images=nearest_images, distances=np.sqrt(best))


def memorisation_ratio(
    sample_distances: np.ndarray, test_distances: np.ndarray
) -> float:
    """Returns the mean distance of samples to training images, relative to test images.

        mean distance(sample -> nearest training image)
        / mean distance(test image -> nearest training image)

    At a ratio near 1 or above, samples are no nearer to the training images than new
    photographs are. A ratio much below 1 means that the model memorises, or that its
    samples are blurred: a blurred image is nearer to all images. So look at the pairs,
    and compare with the ratio of reconstructions of test images.

    Args:
        sample_distances: `[num_samples]`, distances from `nearest` for samples of the
            model.
        test_distances: `[num_test]`, distances from `nearest` to the same training
            images, for images that training never saw.

    Raises:
        ValueError: If either array is empty, or all test images are among the training
            images.

    Example:
        >>> memorisation_ratio(np.array([1.0, 3.0]), np.array([4.0]))
        0.5
    """
    if not (sample_distances.size and test_distances.size):
        raise ValueError(
            "the memorisation ratio needs at least 1 sample distance and 1 test "
            f"distance, not {sample_distances.size} and {test_distances.size}"
        )
    unseen = float(np.mean(test_distances, dtype=np.float64))
    if unseen == 0:
        raise ValueError("all test images are among the training images")
    return float(np.mean(sample_distances, dtype=np.float64)) / unseen


def _flattened(images: np.ndarray) -> np.ndarray:
    """Returns images as rows, `[n, D]` float32."""
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    return flat.astype(np.float32, copy=False)


def _squared_norms(vectors: np.ndarray) -> np.ndarray:
    """Returns squared norms computed in float32, `[n]` float64."""
    norms = np.vecdot(vectors, vectors).astype(np.float64)
    if not np.isfinite(norms).all():
        raise ValueError("images must be finite")
    return norms


def _rounding(
    query_norms: np.ndarray, norms: np.ndarray, num_values: int
) -> np.ndarray:
    """Returns a bound on the rounding error of the squared distances, `[q, b]`.

    The error of a float32 sum of D products is c sqrt(D) units of the last place, and c
    exceeds 8 less often than once in 1e13 (Higham and Mary, "A New Approach to
    Probabilistic Rounding Error Analysis", 2019). The bound uses c = 16: 8 for the
    norms and 8 for the product.
    """
    share = 16 * math.sqrt(num_values + 8) * float(np.finfo(np.float32).eps)
    return share * (query_norms[:, None] + norms) + 1e-30


def _squared_distance(first: np.ndarray, second: np.ndarray) -> float:
    differences = np.subtract(first, second, dtype=np.float64).ravel()
    return float(np.sum(differences**2))
