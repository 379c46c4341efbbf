"""Keeps TensorFlow's server on the loopback if all hosts are on one machine.

TensorFlow listens at every address of a machine, for any cluster, and runs the
operations that anybody sends. It has no option for the address. So this module replaces
the `bind` that TensorFlow's libraries call, until the server has its socket. A library
holds one pointer to `bind`, in a table of the ELF format (DT_JMPREL).
"""

import contextlib
import ctypes
import ipaddress
import itertools
import mmap
import os
import socket
import sys
from collections.abc import Iterator

import numpy as np
from absl import logging

from trainer.distribution.cluster import Cluster

_RTLD_DI_LINKMAP = 2
# Tags of the dynamic section.
_SIZE_OF_JMPREL, _STRTAB, _SYMTAB, _SIZE_OF_STRTAB, _JMPREL = 2, 5, 6, 10, 23
_RELOCATION = np.dtype([("offset", "u8"), ("info", "u8"), ("addend", "i8")])
_SYMBOL = np.dtype([("name", "u4"), ("rest", "V20")])
# Bytes of the address in the `sockaddr` of each family.
_ADDRESS = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}

_Bind = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, use_errno=True
)
# Never freed, because a thread may be about to call a replacement.
_replacements: list[object] = []


class _LinkMap(ctypes.Structure):
    """Entry of the dynamic linker for a loaded library."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.POINTER(ctypes.c_uint64)),
    )


@contextlib.contextmanager
def serving(cluster: Cluster) -> Iterator[None]:
    """Makes the server that TensorFlow starts in this block listen on the loopback.

    This applies if the addresses of all hosts are on the loopback; otherwise nothing
    changes. A warning is logged if the server still listens at every address.

    Args:
        cluster: Cluster of this host.
    """
    address = cluster.loopback
    if address is None:
        yield
        return
    bound: list[bytes] = []
    with contextlib.ExitStack() as stack:
        slots = [slot for path in _libraries() for slot in _slots(path, b"bind")]
        real = ctypes.CDLL(None, use_errno=True).bind

        def bind(file: int, where: int, size: int) -> int:
            moved = _moved(ctypes.string_at(where, size), address)
            if moved is None:
                return real(file, ctypes.c_void_p(where), size)
            # Restore `bind` now. Otherwise other threads of TensorFlow would wait in
            # vain for Python's lock, which its server holds until all hosts are there.
            stack.close()
            bound.append(moved)
            return real(file, moved, size)

        replacement = _Bind(bind)
        _replacements.append(replacement)
        for slot in slots:
            stack.callback(_write, slot, _read(slot))
            _write(slot, ctypes.cast(replacement, ctypes.c_void_p).value)
        yield
    if not bound:
        logging.warning(
            "TensorFlow listens at port %s of every address of this machine, and runs "
            "any code that it receives: keep other machines from this port by a "
            "firewall or `unshare --net`",
            cluster.address.rpartition(":")[2],
        )


def _moved(where: bytes, address: str) -> bytes | None:
    """Returns the `sockaddr` in `where`, with `address` in place of the wildcard.

    The result is None if `where` has no wildcard address.
    """
    family = int.from_bytes(where[:2], sys.byteorder)
    place = _ADDRESS.get(family)
    if place is None or any(where[place]):
        return None
    parsed = ipaddress.ip_address(address)
    if family == socket.AF_INET6 and parsed.version == 4:
        parsed = ipaddress.ip_address(f"::ffff:{address}")
    return where[: place.start] + parsed.packed + where[place.stop :]


def _libraries() -> list[str]:
    """Returns the paths of TensorFlow's libraries that this process has loaded."""
    if sys.platform != "linux":
        return []
    with open("/proc/self/maps", errors="surrogateescape") as maps:
        paths = {line.split(maxsplit=5)[-1].rstrip("\n") for line in maps}
    return sorted(p for p in paths if os.path.basename(p).startswith("libtensorflow"))


def _slots(path: str, function: bytes) -> list[int]:
    """Returns the addresses of a loaded library's pointers to an imported function."""
    library = ctypes.CDLL(path, os.RTLD_NOLOAD | os.RTLD_NOW)
    link_map = ctypes.POINTER(_LinkMap)()
    handle = ctypes.c_void_p(library._handle)
    ctypes.CDLL(None).dlinfo(handle, _RTLD_DI_LINKMAP, ctypes.byref(link_map))
    base, dynamic = link_map.contents.base, link_map.contents.dynamic
    tags: dict[int, int] = {}
    for at in itertools.count(step=2):
        if not dynamic[at]:
            break
        tags[dynamic[at]] = dynamic[at + 1]
    if _JMPREL not in tags:
        return []
    relocations = _array(tags[_JMPREL], tags[_SIZE_OF_JMPREL], _RELOCATION)
    numbers = (relocations["info"] >> np.uint64(32)).astype(np.int64)
    size = (int(numbers.max()) + 1) * _SYMBOL.itemsize
    names = _array(tags[_SYMTAB], size, _SYMBOL)["name"][numbers]
    text = _array(tags[_STRTAB], tags[_SIZE_OF_STRTAB], np.dtype("S1")).tobytes()
    is_wanted = [text.startswith(function + b"\0", name) for name in names.tolist()]
    return [base + int(offset) for offset in relocations["offset"][is_wanted]]


def _array(start: int, size: int, dtype: np.dtype) -> np.ndarray:
    return np.frombuffer((ctypes.c_char * size).from_address(start), dtype)


def _read(slot: int) -> int:
    return ctypes.c_uint64.from_address(slot).value


def _write(slot: int, value: int) -> None:
    # The linker may have made the table read-only when it was complete.
    page = slot - slot % mmap.PAGESIZE
    access = mmap.PROT_READ | mmap.PROT_WRITE
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, access)
    ctypes.c_uint64.from_address(slot).value = value
