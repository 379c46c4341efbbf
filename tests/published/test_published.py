"""Every published setting, compared with the system that a run builds."""

from typing import Any

import pytest

from tests.published.celeba_rows import ROYER
from tests.published.mnist_rows import DENSE, HAFNER, MLSS
from tests.published.protocol_rows import IWAE, KERAS, PYTORCH, STATIC
from tests.published.rows import Row
from tests.published.systems import load_system

TABLES = {
    "celeba": ROYER,
    "mnist_hafner": HAFNER,
    "mnist_dense": DENSE,
    "mnist_mlss": MLSS,
    "mnist_pytorch": PYTORCH,
    "mnist_keras": KERAS,
    "mnist_iwae": IWAE,
    "mnist_static": STATIC,
}
CASES = [
    pytest.param(config, row, id=f"{config}-{row.name}")
    for config, rows in TABLES.items()
    for row in rows
]


def expected(value: Any) -> Any:
    """Returns a value that is equal to floats of nearly the same size."""
    if isinstance(value, tuple):
        return tuple(map(expected, value))
    # Weights and rates are float32.
    return pytest.approx(value, rel=1e-5) if isinstance(value, float) else value


@pytest.mark.parametrize(("config", "row"), CASES)
def test_a_setting_is_as_published(config: str, row: Row) -> None:
    system = load_system(config)
    for reading in row.readings:
        assert reading(system) == expected(row.value), row.place
