"""Calls the user's function on an image's pixels, preprocess=MODULE:FUNCTION.

The function's name is a setting. Each process imports the function by that name: a
worker finds it as the launcher does, on Python's path or in the command's directory.
"""

import importlib
import traceback
from collections.abc import Callable

import numpy as np

from pipeline import contract


def load(name: str) -> Callable[[np.ndarray], object]:
    """Imports a function by its name.

    Args:
        name: Name of the function, as `PACKAGE.MODULE:FUNCTION`.

    Raises:
        DatasetError: If the name has another form, the module cannot be imported, or
            the module has no such function.

    Example:
        >>> load("numpy:flipud").__name__
        'flipud'
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise contract.DatasetError(
            f"preprocess={name} must be PACKAGE.MODULE:FUNCTION"
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        # The import runs the user's code, which may raise any error.
        raise contract.DatasetError(
            f"preprocess={name}: cannot import {module_name} ({_described(error)}): "
            "it must be on PYTHONPATH, or elsewhere on sys.path"
        ) from error
    function = getattr(module, function_name, None)
    if callable(function):
        return function
    is_there = hasattr(module, function_name)
    fault = "is not a function" if is_there else "is not defined"
    raise contract.DatasetError(
        f"preprocess={name}: {function_name} {fault} in {module.__file__}"
    )


def call(name: str, pixels: np.ndarray) -> np.ndarray:
    """Returns the result of the user's function for an image.

    Args:
        name: Name of the function, as `PACKAGE.MODULE:FUNCTION`.
        pixels: `[height, width, channels]` uint8. The function gets a copy, so it may
            write to it.

    Returns:
        `[new_height, new_width, channels]` uint8.

    Raises:
        DatasetError: If the function cannot be loaded, raises an error, or returns
            another type or shape.
    """
    function = load(name)
    try:
        result = function(np.array(pixels))
    except Exception as error:
        # The user's code may raise any error.
        raise contract.DatasetError(
            f"preprocess={name} failed on an image of {list(pixels.shape)} "
            f"({_described(error)}): repair the function, or leave the argument out"
        ) from error
    returned = f"a {type(result).__name__}"
    if isinstance(result, np.ndarray):
        returned = f"{list(result.shape)} {result.dtype}"
        is_image = result.dtype == np.uint8 and result.ndim == 3 and result.size > 0
        if is_image and result.shape[2] == pixels.shape[2]:
            return result
    raise contract.DatasetError(
        f"preprocess={name} returned {returned} for an image of "
        f"{list(pixels.shape)}: the function must return "
        f"[height, width, {pixels.shape[2]}] uint8"
    )


def _described(error: Exception) -> str:
    """Returns an error in one line, with its place if a file's code raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    is_file = not frame.filename.startswith("<")
    return f"{text}, {frame.filename} line {frame.lineno}" if is_file else text
