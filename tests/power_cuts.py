"""A disk that forgets, when its power is cut, what was not synced.

Calls to the system are recorded, and the disk is rebuilt as it may be after each: the
way of CrashMonkey (Mohan et al., "Finding Crash-Consistency Bugs with Bounded
Black-Box Crash Testing", OSDI 2018). A file system owes its user no more than this:

- what a file holds is on the disk once the file was synced, and is anything before;
- a name is made, changed or gone on the disk once its directory was synced. Before that
  the disk may have any of the directory's changes without the others, each one whole: a
  renamed file has its old name or its new one.
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

# By the number of a file or directory, which no other ever has.
Names = dict[int, dict[str, int]]
Contents = dict[int, bytes]


@dataclasses.dataclass(frozen=True)
class Moment:
    """What is seen and what is synced, after a call to the system.

    Attributes:
        names: What is seen in each directory.
        contents: What is seen in each file.
        possible_names: What each directory had, from when it was synced on.
        synced_contents: What each file has on the disk.
        notes: What the program had told by then.
    """

    names: Names
    contents: Contents
    possible_names: dict[int, tuple[dict[str, int], ...]]
    synced_contents: Contents
    notes: tuple[Any, ...]


class Recorder:
    """Notes what is seen and synced in a directory, while it is patched in."""

    def __init__(self, root: pathlib.Path) -> None:
        """Takes what is in `root` for synced."""
        self._root = root
        self._lock = threading.RLock()
        self._held: dict[int, int] = {}
        self._notes: list[Any] = []
        self.moments: list[Moment] = []
        names, contents = self._look()
        possible = {number: (listed,) for number, listed in names.items()}
        self._add(Moment(names, contents, possible, contents, ()))

    def note(self, what: Any) -> None:
        """Notes what a user is told from here on."""
        with self._lock:
            self._notes.append(what)
            self._add(self.moments[-1])

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Records what this process does, by Python's calls."""
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
                # What was written since the call before may be there or not.
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
        # What is removed may still be on the disk.
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
            # Another thread may be at work here.
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
        # As long as a file is open, its number goes to no other.
        if number not in self._held:
            self._held[number] = os.open(path, os.O_PATH)
        return number


def rebuild(moment: Moment, root: pathlib.Path, how: str, rng: random.Random) -> None:
    """Makes the disk as it may be once there is power again.

    Args:
        moment: When the power was cut.
        root: Directory that is made.
        how: One of `HOWS`. `synced`: only what was synced is there; `named`: every name
            is there; `last`: of the changes of a directory only the last one was made;
            `any`: each change was made by chance, and each file holds what chance has
            it hold. Else it holds what was synced.
        rng: Decides.
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
    """Yields moments, each with every disk that may be there after a cut then.

    Args:
        moments: Of a recording.
        path: Where the disks are made; one is removed before the next.
        number: Of moments, spread over all.
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
