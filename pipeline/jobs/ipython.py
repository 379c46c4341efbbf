"""Graphs that Beam builds in a notebook as in a script."""

import contextlib
from collections.abc import Iterator
from typing import Any

from apache_beam import pipeline as beam_pipeline

_Pipeline: Any = beam_pipeline


@contextlib.contextmanager
def is_hidden() -> Iterator[None]:
    """Makes Beam find no IPython inside the context.

    In IPython, Beam puts the number of the cell before each label. For that it imports
    its interactive runner, which needs pandas and other packages. It also leaves the
    temporary directory of each pipeline to that runner.
    """
    before = _Pipeline.alter_label_if_ipython, _Pipeline.is_in_ipython
    _Pipeline.alter_label_if_ipython = lambda transform, pvalueish: None
    _Pipeline.is_in_ipython = lambda: False
    try:
        yield
    finally:
        _Pipeline.alter_label_if_ipython, _Pipeline.is_in_ipython = before
