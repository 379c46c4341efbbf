"""The loop of `record_reader` over the records of a batch, compiled by Numba.

The loop runs without Python's lock, so several threads read and check at once. It has
its own module, because Numba's import takes as long as the first steps of a small run.
"""

import ctypes
import functools
from collections.abc import Callable

import google_crc32c._crc32c
import numba
import numpy as np

from trainer.data.shard_files import CRC_BYTES, masked

_PLACES = (numba.int64[::1], numba.int64[::1], numba.int64[::1])
_PARTS = (numba.uint8[::1], *3 * [numba.uint8[:, ::1]])
_CRCS = numba.int64[::1]


@functools.cache
def compiled() -> Callable[..., None]:
    """Returns the compiled loop.

    Arguments of the loop, for `n` records that have one array each:
        files, starts, lengths: `[n]` int64, descriptors of open files, and the offset
            and length of each record in bytes.
        mark: `[any]` uint8, bytes that precede an array.
        before, arrays, after: `[n, any]` uint8, buffers to fill: the bytes before each
            array, with the mark; the array; and the bytes after it.
        crcs: `[n]` int64, buffer to fill with the checksums in the files. A record gets
            a negative number if it has another form, is damaged, or cannot be read.

    Raises:
        AttributeError, OSError: If this system lacks a C function.
    """
    read = ctypes.CDLL(None).preadv
    read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_long]
    read.restype = ctypes.c_ssize_t
    extend = ctypes.CDLL(google_crc32c._crc32c.__file__).crc32c_extend
    extend.argtypes = [ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t]
    extend.restype = ctypes.c_uint32
    as_stored = numba.njit(masked)

    @numba.njit(numba.void(*_PLACES, *_PARTS, _CRCS), nogil=True)
    def loop(
        files: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        mark: np.ndarray,
        before: np.ndarray,
        arrays: np.ndarray,
        after: np.ndarray,
        crcs: np.ndarray,
    ) -> None:
        num_before, size, num_after = before.shape[1], arrays.shape[1], after.shape[1]
        # Address and length of each buffer, as `preadv` takes them.
        buffers = np.empty((3, 2), np.int64)
        buffers[0, 1], buffers[1, 1], buffers[2, 1] = num_before, size, num_after
        for n in range(len(files)):
            buffers[0, 0] = before.ctypes.data + n * num_before
            buffers[1, 0] = arrays.ctypes.data + n * size
            buffers[2, 0] = after.ctypes.data + n * num_after
            num_read = read(files[n], buffers.ctypes.data, 3, starts[n])
            num_tail = lengths[n] - num_before - size
            crcs[n] = -1
            if 0 <= num_tail <= num_read - num_before - size - CRC_BYTES:
                crc = extend(0, buffers[0, 0], num_before)
                crc = extend(crc, buffers[1, 0], size)
                crc = as_stored(extend(crc, buffers[2, 0], num_tail))
                stored = 0
                for at in range(CRC_BYTES):
                    stored |= np.int64(after[n, num_tail + at]) << 8 * at
                is_alike = True
                for at in range(len(mark)):
                    is_alike &= before[n, num_before - len(mark) + at] == mark[at]
                if is_alike and crc == stored:
                    crcs[n] = stored

    return loop
