"""Statically binarised MNIST: text files of zeros and ones, without labels.

    DIR/binarized_mnist_train.amat    the split train, 50,000 images
    DIR/binarized_mnist_valid.amat    the split validation, 10,000 images
    DIR/binarized_mnist_test.amat     the split test, 10,000 images

A line holds the 784 pixels of an image, row by row, as numbers between spaces. A key
consists of the split and the image's number in it. A worker gets the byte range of each
of its lines and reads this range.

Source:
    Larochelle and Murray, "The Neural Autoregressive Distribution Estimator" (2011),
    section 6.1. Every pixel was drawn once, with its grey value as the probability of
    white.
"""

import hashlib
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline import contract
from pipeline.images import file_types
from pipeline.process import wording
from pipeline.sources import Listing
from pipeline.sources.image_table import ImageTable
from pipeline.sources.listing import file_states
from pipeline.sources.listing.read_ahead import Part, ReadAhead
from pipeline.sources.mnist import arrays
from pipeline.storage import path_resolution, paths

FILE_NAMES = {
    "train": "binarized_mnist_train.amat",
    "validation": "binarized_mnist_valid.amat",
    "test": "binarized_mnist_test.amat",
}

_NUM_PIXELS = arrays.IMAGE_SIDE**2
_ALLOWED = f"give a directory with {', '.join(FILE_NAMES.values())}"
# Longest line in bytes. NumPy writes at most 26 bytes for a number.
_MAX_LINE_BYTES = 1 << 16


class LineReader:
    """Reads an image by (number of its file, offset, size, CRC-32) of its line."""

    def __init__(self, file_paths: Sequence[str]) -> None:
        """Opens nothing yet."""
        self._paths = tuple(file_paths)
        self._ahead = ReadAhead()

    def prefetch(self, keys: Sequence[str], locations: np.ndarray) -> None:
        """Reads the lines of a bucket ahead; see `Reader.prefetch`."""
        if paths.is_url(self._paths[0]):
            self._ahead.announce(map(self._part, locations))

    def read(self, key: str, location: np.ndarray) -> np.ndarray:
        """Returns `[28, 28, 1]` uint8, 0 or 255; see `Reader.read`."""
        part = self._part(location)
        try:
            line = self._ahead.read(part)
        except OSError as error:
            raise file_states.unreadable(part.path, error) from error
        if zlib.crc32(line) != location[3]:
            raise contract.DatasetError(
                f"{part.path} changed after it was listed: restore it, or leave it as "
                "it is now, and make the same call again"
            )
        square = (arrays.IMAGE_SIDE, arrays.IMAGE_SIDE, 1)
        return 255 * parse_line(line).reshape(square)

    def _part(self, location: np.ndarray) -> Part:
        number, offset, size, _ = location.tolist()
        return Part(self._paths[number], size, offset)


def list_images(input_dir: str) -> Listing:
    """Returns the images of statically binarised MNIST.

    Args:
        input_dir: Directory of the three files, local or in a bucket.

    Raises:
        DatasetError: If a file is missing or malformed, or has no image.
    """
    file_paths = _find_files(input_dir)
    content = hashlib.sha256()
    parts = []
    for number, (split, path) in enumerate(file_paths.items()):
        locations = []
        content.update(f"{split}\n".encode())
        for offset, line, pixels in _read_lines(path):
            locations.append((number, offset, len(line), zlib.crc32(line)))
            content.update(pixels.tobytes())
        if not locations:
            raise contract.DatasetError(f"{path} has no image: download it again")
        # All numbers get the same number of digits, so the keys sort in numeric order.
        num_digits = max(5, len(str(len(locations) - 1)))
        keys = [f"{split}-{place:0{num_digits}d}" for place in range(len(locations))]
        parts.append((split, ImageTable(keys, np.array(locations, np.int64))))
    return Listing(
        name="binarized_mnist",
        parts=parts,
        features={},
        fingerprint=content.hexdigest(),
        reader=LineReader([*map(path_resolution.resolve, file_paths.values())]),
        num_channels=1,
    )


def parse_line(line: bytes) -> np.ndarray:
    r"""Returns the pixels of a line, `[784]` uint8, 0 or 1.

    Raises:
        ValueError: If the line does not have 784 numbers, each of them 0 or 1.

    Example:
        >>> parse_line(b"0 1 " * 391 + b"1.0 0\n")[-4:].tolist()
        [0, 1, 1, 0]
    """
    characters = np.frombuffer(line.rstrip(), np.uint8)
    digits, spaces = characters[::2] - ord("0"), characters[1::2]
    # Most files have one digit for a pixel, which is much faster to read than numbers.
    if len(digits) == _NUM_PIXELS and (digits <= 1).all() and (spaces == 32).all():
        return digits
    words = line.split()
    if len(words) != _NUM_PIXELS:
        raise ValueError(
            f"has {wording.counted(len(words), 'value')}: an image has {_NUM_PIXELS}"
        )
    for word in words:
        if _as_number(word) not in (0, 1):
            raise ValueError(
                f"has the value {wording.shown(word[:20])}: pixels must be 0 or 1"
            )
    return np.array([_as_number(word) for word in words], np.uint8)


def _as_number(word: bytes) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _read_lines(path: str) -> Iterator[tuple[int, bytes, np.ndarray]]:
    """Yields offset, bytes and pixels of each line that is not blank."""
    offset = number = 0
    with paths.open_file(path) as file:
        while line := file.readline(_MAX_LINE_BYTES):
            number += 1
            if number == 1 and file_types.is_html(line):
                raise contract.DatasetError(
                    f"{path} is an HTML page, not a text file of zeros and ones: "
                    "download it again, by hand in a browser"
                )
            if line.strip():
                try:
                    pixels = parse_line(line)
                except ValueError as error:
                    raise contract.DatasetError(
                        f"line {number} of {path} {error}; download the file again"
                    ) from error
                yield offset, line, pixels
            offset += len(line)


def _find_files(input_dir: str) -> dict[str, str]:
    """Returns the paths of the three files, by split."""
    if not paths.is_directory(input_dir):
        found = "does not exist" if paths.find(input_dir) is None else "is a file"
        raise contract.DatasetError(f"input={input_dir} {found}: {_ALLOWED}")
    file_paths = {
        split: paths.join(input_dir, name) for split, name in FILE_NAMES.items()
    }
    missing = [
        FILE_NAMES[split]
        for split, path in file_paths.items()
        if paths.find(path) is None
    ]
    if missing:
        raise contract.DatasetError(
            f"input={input_dir} has no {', '.join(missing)}: {_ALLOWED}"
        )
    return file_paths
