"""Fixtures: a small MNIST."""

import numpy as np
import pytest

from mnist_files import Mnist


@pytest.fixture
def digits() -> Mnist:
    rng = np.random.default_rng(0)
    sizes = {"train": 25, "test": 9}
    return Mnist(
        pixels={
            split: rng.integers(0, 256, (number, 28, 28), dtype=np.uint8)
            for split, number in sizes.items()
        },
        labels={split: np.arange(number) % 10 for split, number in sizes.items()},
    )
