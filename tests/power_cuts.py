"""A simulated disk that loses unsynced data when its power is cut.

We record calls to the system and rebuild the disk as it may be after each call, like
CrashMonkey (Mohan et al., "Finding Crash-Consistency Bugs with Bounded Black-Box Crash
Testing", OSDI 2018). A file system guarantees only this:

- The content of a file is on the disk once the file was synced. Before that, the disk
  may hold any content.
- A change of a name is on the disk once its directory was synced. Before that, the disk
  may have any of the directory's changes without the other changes. Each change is
  atomic: a renamed file has its old name or its new name.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

HOWS = ("synced", "named", "last", "any")

_CHANGES = ("mkdir", "rename", "replace", "remove", "unlink", "rmdir")

# Keyed by inode number, which identifies one file or directory during a recording.
Names = dict[int, dict[str, int]]
Contents = dict[int, bytes]


@dataclasses.dataclass(frozen=True)
class Moment:
    """State of the files after a call to the system: as programs see it, and as synced.

    Attributes:
        names: Entries that programs see in each directory.
        contents: Content that programs see in each file.
        possible_names: Entries of each directory at its last sync and after each
            later change.
        synced_contents: Content of each file at its last sync.
        notes: Notes of the test up to this moment, such as messages to the user.
    """

    names: Names
    contents: Contents
    possible_names: dict[int, tuple[dict[str, int], ...]]
    synced_contents: Contents
    notes: tuple[Any, ...]


class Recorder:
    """Records seen and synced states of a directory while its patches are active."""

    def __init__(self, root: pathlib.Path) -> None:
        """Starts from the content of `root`, which counts as synced."""
        self._root = root
        self._lock = threading.RLock()
        self._held: dict[int, int] = {}
        self._notes: list[Any] = []
        self.moments: list[Moment] = []
        names, contents = self._look()
        possible = {number: (listed,) for number, listed in names.items()}
        self._add(Moment(names, contents, possible, contents, ()))

    def note(self, what: Any) -> None:
        """Adds a note, such as a message to the user, to this and later moments."""
        with self._lock:
            self._notes.append(what)
            self._add(self.moments[-1])

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Records the changes that this process makes through Python's `os`."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CHANGES:
                patch.setattr(os, name, self._recorded(getattr(os, name)))
            patch.setattr(os, "fsync", self._fsync(os.fsync))
            yield
        with self._lock:
            for number in self._held.values():
                os.close(number)
            self._held.clear()

    def _recorded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                # Data written since the previous call may or may not be on the disk.
                self._see()
                actual = call(*args, **kwargs)
                self._see()
                return actual

        return recorded

    def _fsync(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(file: Any) -> None:
            with self._lock:
                self._see()
                call(file)
                number = os.fstat(file).st_ino
                last = self.moments[-1]
                possible, synced = dict(last.possible_names), dict(last.synced_contents)
                if number in last.names:
                    possible[number] = (last.names[number],)
                elif number in last.contents:
                    synced[number] = last.contents[number]
                self._add(
                    dataclasses.replace(
                        last, possible_names=possible, synced_contents=synced
                    )
                )

        return recorded

    def _see(self) -> None:
        names, actual = self._look()
        last = self.moments[-1]
        # A removed file or directory may still be on the disk.
        names = {**dict.fromkeys(last.names, {}), **names}
        changed = {
            n: data for n, data in actual.items() if last.contents.get(n) != data
        }
        contents = {**last.contents, **changed}
        possible = dict(last.possible_names)
        for number, listed in names.items():
            # A new directory is empty until it is synced.
            before = possible.get(number, ({},))
            possible[number] = (*before, *([listed] if listed != before[-1] else []))
        if (names, contents) != (last.names, last.contents):
            self._add(
                dataclasses.replace(
                    last, names=names, contents=contents, possible_names=possible
                )
            )

    def _add(self, moment: Moment) -> None:
        self.moments.append(dataclasses.replace(moment, notes=tuple(self._notes)))

    def _look(self) -> tuple[Names, Contents]:
        names: Names = {}
        contents: Contents = {}
        pending = [self._root]
        while pending:
            directory = pending.pop()
            # Another thread may remove files meanwhile.
            with contextlib.suppress(FileNotFoundError):
                listed = names.setdefault(self._number(directory), {})
                for path in directory.iterdir():
                    with contextlib.suppress(FileNotFoundError):
                        number = self._number(path)
                        listed[path.name] = number
                        if path.is_dir():
                            pending.append(path)
                        else:
                            contents[number] = path.read_bytes()
        return names, contents

    def _number(self, path: pathlib.Path) -> int:
        number = path.stat().st_ino
        # The system does not reuse an inode number while the file is open.
        if number not in self._held:
            self._held[number] = os.open(path, os.O_PATH)
        return number


def rebuild(moment: Moment, root: pathlib.Path, how: str, rng: random.Random) -> None:
    """Makes a possible state of the disk after a power cut.

    Args:
        moment: Moment of the power cut.
        root: Directory to make.
        how: One of `HOWS`. `synced`: no unsynced change reached the disk. `named`: all
            changes of names reached it. `last`: only the last change of each directory
            reached it. `any`: chance decides on each change and on the content of each
            file. Except with `any`, files have their synced content.
        rng: Random generator for `any`.
    """
    top = next(iter(moment.names))
    _rebuild(moment, top, root, how, rng)


def _rebuild(
    moment: Moment, number: int, path: pathlib.Path, how: str, rng: random.Random
) -> None:
    if number not in moment.names:
        path.write_bytes(_content(moment, number, how, rng))
        return
    path.mkdir()
    possible = moment.possible_names[number]
    listed: dict[str, int | None] = dict(possible[0])
    changes = list(itertools.pairwise(possible))
    for change in changes:
        chosen = {
            "synced": False,
            "named": True,
            "last": change is changes[-1],
            "any": rng.random() < 0.5,
        }
        if chosen[how]:
            before, after = change
            changed = before.items() ^ after.items()
            listed |= {name: after.get(name) for name, _ in changed}
    for name, actual in sorted(listed.items()):
        if actual is not None:
            _rebuild(moment, actual, path / name, how, rng)


def _content(moment: Moment, number: int, how: str, rng: random.Random) -> bytes:
    synced = moment.synced_contents.get(number, b"")
    seen = moment.contents.get(number, b"")
    if how != "any" or synced == seen:
        return synced
    kept = synced if seen.startswith(synced) else b""
    rest = seen[len(kept) :]
    return rng.choice(
        [synced, seen, kept + rest[: len(rest) // 2], kept + bytes(len(rest))]
    )


def cuts(
    moments: list[Moment], path: pathlib.Path, number: int
) -> Iterator[tuple[Moment, pathlib.Path]]:
    """Yields moments of a power cut and rebuilt disks, one disk for each of `HOWS`.

    Args:
        moments: Moments of a recording.
        path: Directory for the disks; each disk is removed before the next is made.
        number: Number of moments to take, spread evenly over the recording.
    """
    assert len(moments) >= number
    rng = random.Random(0)
    for index in range(number):
        moment = moments[index * (len(moments) - 1) // (number - 1)]
        for how in HOWS:
            root = path / f"{index}-{how}"
            rebuild(moment, root, how, rng)
            yield moment, root
            shutil.rmtree(root)
