import pickle
import threading

import pytest

from pipeline.sources.listing import read_ahead
from pipeline.sources.listing.read_ahead import Part, ReadAhead
from pipeline.storage import paths


class Store:
    """Answers every request with the requested path, and records the paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.before_answer = lambda: None

    def read_bytes(self, path: str) -> bytes:
        self.paths.append(path)
        self.before_answer()
        if "absent" in path:
            raise FileNotFoundError(path)
        return path.encode()

    def read_range(self, path: str, start: int, num_bytes: int) -> bytes:
        return self.read_bytes(f"{path} {start} {num_bytes}")


@pytest.fixture
def store(monkeypatch) -> Store:
    store = Store()
    monkeypatch.setattr(paths, "read_bytes", store.read_bytes)
    monkeypatch.setattr(paths, "read_range", store.read_range)
    return store


def finish(ahead: ReadAhead) -> None:
    """Waits for all reads that are under way."""
    for future in ahead._coming.values():
        future.exception(timeout=10)


def test_as_many_requests_are_under_way_as_there_are_threads(store):
    # Each request waits until every thread has a request.
    together = threading.Barrier(read_ahead._NUM_THREADS, timeout=10)
    store.before_answer = together.wait
    parts = [Part(f"s3://b/{at}", 1) for at in range(4 * read_ahead._NUM_THREADS)]
    ahead = ReadAhead()
    ahead.announce(parts)
    assert [ahead.read(part) for part in parts] == [p.path.encode() for p in parts]
    assert sorted(store.paths) == sorted(part.path for part in parts)


def test_some_dozens_are_held_in_memory(store):
    parts = [Part(f"s3://b/{at}", 1) for at in range(3 * read_ahead._MAX_PARTS)]
    ahead = ReadAhead()
    ahead.announce(parts)
    for num_read, part in enumerate(parts, start=1):
        ahead.read(part)
        finish(ahead)
        expected = min(len(parts), num_read + read_ahead._MAX_PARTS)
        assert len(store.paths) == expected


@pytest.mark.parametrize(("num_bytes", "expected"), [(16 << 20, 4), (1 << 30, 1)])
def test_some_megabytes_are_held_in_memory(store, num_bytes, expected):
    parts = [Part(f"s3://b/{at}", num_bytes) for at in range(9)]
    ahead = ReadAhead()
    ahead.announce(parts)
    finish(ahead)
    assert store.paths == [part.path for part in parts[:expected]]
    for part in parts:
        ahead.read(part)
    assert len(store.paths) == 9


def test_parts_of_one_file_are_distinct(store):
    parts = [Part("s3://b/zip", 5, start) for start in (0, 5)] + [Part("s3://b/zip", 5)]
    ahead = ReadAhead()
    ahead.announce(parts)
    assert [ahead.read(part) for part in reversed(parts)] == [
        b"s3://b/zip",
        b"s3://b/zip 5 5",
        b"s3://b/zip 0 5",
    ]
    assert len(store.paths) == 3


def test_a_part_that_was_not_announced_is_read_on_demand(store):
    ahead = ReadAhead()
    assert ahead.read(Part("s3://b/a", 1)) == b"s3://b/a"
    ahead.announce([Part("s3://b/b", 1)])
    ahead.announce([Part("s3://b/c", 1)])
    for name in "abca":
        assert ahead.read(Part(f"s3://b/{name}", 1)) == f"s3://b/{name}".encode()


def test_an_error_is_that_of_its_own_part(store):
    parts = [Part(f"s3://b/{name}", 1) for name in ("a", "absent", "c")]
    ahead = ReadAhead()
    ahead.announce(parts)
    finish(ahead)
    assert ahead.read(parts[0]) == b"s3://b/a"
    with pytest.raises(FileNotFoundError, match="s3://b/absent"):
        ahead.read(parts[1])
    assert ahead.read(parts[2]) == b"s3://b/c"


def test_a_worker_gets_one_of_its_own(store):
    ahead = ReadAhead()
    ahead.announce([Part("s3://b/a", 1)])
    finish(ahead)
    copy = pickle.loads(pickle.dumps(ahead))
    copy.read(Part("s3://b/a", 1))
    assert store.paths == ["s3://b/a", "s3://b/a"]
