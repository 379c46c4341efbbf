"""Turns the bytes of an image file into a square image in [-1, 1].

squares        decodes, crops, resizes and scales an image, or rejects it with a reason
rgb            decodes any image file as upright RGB pixels
rare_forms     finds forms that Pillow opens but shows with wrong colours
file_types     names the types of files that are no readable images
jpeg_damage    finds damage that libjpeg only warns about
resizing       resizes as Pillow and as TensorFlow 1 do
filters        computes the weights of the input pixels in each output pixel
resize_loops   the loops over pixels, compiled by Numba
user_function  calls the user's own function on pixels, preprocess=MODULE:FUNCTION
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.images.squares import preprocess

__all__ = ["preprocess"]


def __getattr__(name: str) -> object:
    """Imports `preprocess`, which needs NumPy and Pillow, when it is first used."""
    if name == "preprocess":
        from pipeline.images import squares

        return squares.preprocess
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
