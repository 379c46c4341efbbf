"""Reading by place returns the written values, or names the damage."""

import contextlib
import errno
import math
import os
import pathlib
import re
import string
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipeline import contract
from pipeline.formats import records
from pipeline.process import limits
from trainer.data import record_reader, shard_files
from trainer.data.record_reader import RecordReader
from trainer.data.shard_files import DamageError, OpenFilesError

SHAPE = (2, 3, 1)
FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("uint8", SHAPE),
    "label": contract.Feature("int64"),
}


def reader_of(
    directory: pathlib.Path,
    shards: Sequence[Sequence[bytes]],
    features: dict[str, contract.Feature] = FEATURES,
    is_compiled: bool = False,
) -> RecordReader:
    """Writes records to shards, and returns a reader of these shards."""
    paths, infos = [], []
    for index, serialized in enumerate(shards):
        path = directory / f"shard-{index}"
        data = b"".join(part for one in serialized for part in records.frame(one))
        path.write_bytes(data)
        paths.append(str(path))
        infos.append(contract.ShardInfo(path.name, len(serialized), len(data), ""))
    reader = RecordReader(paths, infos, features)
    if is_compiled:
        reader.compile()
    return reader


def record(number: int, **labels: list[int]) -> bytes:
    image = np.full(SHAPE, number, np.uint8)
    labels = {"label": [number], **labels}
    return b"".join(records.encode_record(f"key/{number}", {"image": image}, labels))


def read(
    reader: RecordReader, places: list[tuple[int, int]]
) -> tuple[dict[str, np.ndarray], list[tf.train.Example]]:
    actual = reader.read(np.array(places))
    return actual.arrays, [tf.train.Example.FromString(one) for one in actual.rests()]


NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=12)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 300)


@st.composite
def datasets(draw: st.DrawFn) -> tuple[dict[str, contract.Feature], list[tuple]]:
    """Draws features, and the key, arrays and labels of some records."""
    sizes = st.integers(1, 70)
    if draw(st.booleans()):
        shape = draw(st.tuples(sizes, st.integers(1, 20), st.integers(1, 3)))
        dtype = draw(st.sampled_from(sorted(contract.IMAGE_DTYPES)))
        arrays = {"image": contract.Feature(dtype, shape)}
    else:
        shape = (draw(sizes),)
        arrays = {name: contract.Feature("float32", shape) for name in contract.LATENTS}
    reserved = {"key", "image", *contract.LATENTS}
    shapes = st.lists(st.integers(1, 5), max_size=2).map(tuple)
    labels = draw(
        st.dictionaries(
            NAMES.filter(lambda name: name not in reserved), shapes, max_size=3
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    examples = []
    for _ in range(draw(st.integers(1, 5))):
        values = {
            name: rng.integers(0, 256, array.shape).astype(array.dtype)
            for name, array in arrays.items()
        }
        actual = {
            name: draw(st.lists(INTEGERS, min_size=size, max_size=size))
            for name, size in ((name, math.prod(one)) for name, one in labels.items())
        }
        examples.append((draw(st.text(max_size=20)), values, actual))
    features = {
        "key": contract.Feature("string"),
        **arrays,
        **{name: contract.Feature("int64", shape) for name, shape in labels.items()},
    }
    return features, examples


@given(dataset=datasets(), is_compiled=st.booleans())
def test_any_records_are_what_tensorflow_makes_of_them(
    dataset: tuple[dict[str, contract.Feature], list[tuple]],
    is_compiled: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    features, examples = dataset
    serialized = [b"".join(records.encode_record(*example)) for example in examples]
    reader = reader_of(
        tmp_path_factory.mktemp("any"),
        [serialized],
        features,
        is_compiled and "image" in features,
    )
    order = np.random.default_rng(0).permutation(len(examples)).tolist() * 2
    # Read a different record first, because the reader expects later records to have
    # the same layout.
    for numbers in (order[-1:], order):
        actual = reader.read(np.array([(0, at) for at in numbers]))
    arrays, others = actual.arrays, actual.rests()
    crcs = [
        int.from_bytes(list(records.frame(one))[-1], "little") for one in serialized
    ]
    assert actual.crcs.tolist() == [crcs[at] for at in order]
    raw = set(features) & set(contract.RAW_FEATURES)
    whole = tf.io.parse_example(
        [serialized[at] for at in order],
        {
            name: tf.io.FixedLenFeature([], tf.string)
            if name in raw
            else tf.io.FixedLenFeature(feature.shape, tf.as_dtype(feature.dtype))
            for name, feature in features.items()
        },
    )
    parsed = tf.io.parse_example(
        tf.constant(others),
        {
            name: tf.io.FixedLenFeature(feature.shape, tf.as_dtype(feature.dtype))
            for name, feature in features.items()
            if name not in raw
        },
    )
    assert arrays.keys() == raw
    for name, array in arrays.items():
        assert array.dtype == features[name].dtype
        assert array.shape == (len(order), *features[name].shape)
        assert [one.tobytes() for one in array] == whole[name].numpy().tolist()
        assert array.ctypes.data % 64 == 0
    for name, tensor in parsed.items():
        np.testing.assert_array_equal(tensor, whole[name])


@pytest.mark.parametrize("is_compiled", [True, False])
def test_arrays_whose_place_differs_from_record_to_record(
    tmp_path: pathlib.Path, is_compiled: bool
) -> None:
    angles = {"angle": contract.Feature("int64")}
    serialized = [record(at, angle=[10 ** (at % 5)]) for at in range(20)]
    reader = reader_of(tmp_path, [serialized], {**FEATURES, **angles}, is_compiled)
    read(reader, [(0, 7)])
    arrays, others = read(reader, [(0, at) for at in range(20)])
    for at, (image, other) in enumerate(zip(arrays["image"], others, strict=True)):
        assert (image == at).all()
        actual = other.features.feature
        assert sorted(actual) == ["angle", "key", "label"]
        assert actual["angle"].int64_list.value == [10 ** (at % 5)]
        assert actual["key"].bytes_list.value == [f"key/{at}".encode()]


def flip(path: pathlib.Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)


def test_any_flipped_bit_is_noticed(tmp_path) -> None:
    reader_of(tmp_path, [[record(at) for at in range(3)]])
    whole = (tmp_path / "shard-0").read_bytes()
    length = len(whole) // 3
    for place in range(length, 2 * length):
        for is_compiled in (True, False):
            reader = reader_of(
                tmp_path, [[record(at) for at in range(3)]], is_compiled=is_compiled
            )
            # After this read, the reader reads the next image directly into the batch.
            read(reader, [(0, 0)])
            flip(tmp_path / "shard-0", place)
            with pytest.raises(DamageError, match="record 1 of shard .*/shard-0 "):
                reader.read(np.array([(0, 0), (0, 1)]))


def cut_in_a_record(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size - 3)


def cut_between_records(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size // 4 * 3)


def replace(data: Callable[[bytes], bytes]) -> Callable[[pathlib.Path], None]:
    def change(path: pathlib.Path) -> None:
        temporary = path.with_suffix(".new")
        temporary.write_bytes(data(path.read_bytes()))
        temporary.rename(path)

    return change


def framed(*serialized: bytes) -> bytes:
    return b"".join(part for one in serialized for part in records.frame(one))


DAMAGES = {
    "cut": (cut_in_a_record, "record 3 .* is cut off"),
    "short": (cut_between_records, "record 3 .* is cut off"),
    "empty": (replace(lambda _: b""), "has 0 bytes, and its manifest says"),
    "removed": (pathlib.Path.unlink, "cannot be read: No such file"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "has .* manifest says|Is a"),
    "no header": (replace(lambda data: b"x" * len(data)), "has a damaged header"),
    "fewer": (
        replace(lambda data: framed(bytes(len(data) - 16))),
        "record 0 .* ends at byte .*, but is record 1 of 4",
    ),
    "no Example": (
        replace(lambda data: framed(*4 * [b"\xff" * (len(data) // 4 - 16)])),
        "record . .* is not a tf.train.Example",
    ),
    "no opening": (
        replace(lambda data: framed(*4 * [b"\x12" + record(9)[1:]])),
        "record . .* is not a tf.train.Example",
    ),
    "no image": (
        replace(lambda data: framed(*4 * [record(9).replace(b"image", b"imago")])),
        "record . .* has no image of 6 bytes",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("is_read_before", [True, False])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_file_that_is_not_what_it_was_is_named(
    tmp_path: pathlib.Path, name: str, is_read_before: bool, is_compiled: bool
) -> None:
    damage, message = DAMAGES[name]
    shards = [[record(1)], [record(at) for at in range(4)]]
    reader = reader_of(tmp_path, shards, is_compiled=is_compiled)
    path = tmp_path / "shard-1"
    every = [(0, 0), (1, 1), (1, 3), (1, 2), (1, 0)]
    if is_read_before:
        read(reader, every)
    damage(path)
    with pytest.raises(DamageError, match=f"shard {re.escape(str(path))}") as error:
        # The first pass reads the end of the shard, the second its beginning again.
        [read(reader, [place]) for place in [*every, *every]]
    text = str(error.value)
    if name not in ("cut", "short") or is_read_before:
        assert re.search(message, text), text
    else:
        assert "and its manifest says" in text


def test_a_shard_that_is_restored_is_read_again(tmp_path) -> None:
    reader = reader_of(tmp_path, [[record(at) for at in range(4)]])
    path = tmp_path / "shard-0"
    data = path.read_bytes()
    read(reader, [(0, 0)])
    path.unlink()
    with pytest.raises(DamageError, match="cannot be read"):
        read(reader, [(0, 0)])
    path.write_bytes(framed(*[record(at) for at in (5, 6, 7, 8)]))
    assert len(data) == path.stat().st_size
    arrays, _ = read(reader, [(0, at) for at in range(4)])
    assert arrays["image"][:, 0, 0, 0].tolist() == [5, 6, 7, 8]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what is open")
@pytest.mark.parametrize("is_compiled", [True, False])
def test_no_more_files_are_open_than_are_allowed(
    is_compiled: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_files, "MAX_OPEN_SHARDS", 5)
    reader = reader_of(
        tmp_path, [[record(at)] for at in range(40)], is_compiled=is_compiled
    )

    def num_open() -> int:
        # Count only these shards: other threads of this process may open and close
        # files.
        actual = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                actual.append(os.readlink(f"/proc/self/fd/{name}"))
        return sum(path.startswith(f"{tmp_path}/shard-") for path in actual)

    for _ in range(2):
        arrays, _ = read(reader, [(at, 0) for at in range(40)])
        assert arrays["image"][:, 0, 0, 0].tolist() == list(range(40))
        assert num_open() == 5
    del reader
    assert num_open() == 0


@pytest.mark.parametrize("limit", [64, 128, 256])
def test_a_batch_of_many_shards_keeps_to_the_limit(
    limit: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "open_files_limit", lambda: limit)
    reader = reader_of(tmp_path, [[record(at % 256)] for at in range(300)])
    open_at_once, now_open = [0], set()
    opened, closed = os.open, os.close

    def open_one(path: str, *arguments: int) -> int:
        file = opened(path, *arguments)
        now_open.add(file)
        open_at_once.append(len(now_open))
        return file

    def close_one(file: int) -> None:
        now_open.discard(file)
        closed(file)

    monkeypatch.setattr(os, "open", open_one)
    monkeypatch.setattr(os, "close", close_one)
    arrays, _ = read(reader, [(at, 0) for at in range(300)])
    assert arrays["image"][:, 0, 0, 0].tolist() == [at % 256 for at in range(300)]
    # Files that stay open, files of the part being read, and the file being opened.
    most = max(1, (limit - 96) // 8)
    assert 0 < max(open_at_once) <= 2 * most + 1


def test_too_many_open_files_are_no_damage(tmp_path, monkeypatch) -> None:
    reader = reader_of(tmp_path, [[record(1)]])

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OpenFilesError, match="more than .* open files.* ulimit -n"):
        read(reader, [(0, 0)])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what is read")
def test_of_records_before_one_the_headers_alone_are_read(tmp_path) -> None:
    size = 10_000
    image = np.zeros((100, 100, 1), np.uint8)
    features = {**FEATURES, "image": contract.Feature("uint8", image.shape)}
    record = records.encode_record("key", {"image": image}, {"label": [0]})
    serialized = [b"".join(record)] * 64
    reader = reader_of(tmp_path, [serialized], features)

    def num_read() -> int:
        [line] = re.findall(r"rchar: (\d+)", pathlib.Path("/proc/self/io").read_text())
        return int(line)

    reader.read(np.array([(0, 0)]))
    before = num_read()
    reader.read(np.array([(0, 61), (0, 60), (0, 63)]))
    assert 3 * size < num_read() - before < 4 * size


def test_a_reader_that_is_used_much_is_compiled(tmp_path, monkeypatch) -> None:
    read_any, one_by_one = RecordReader._read_any, []
    monkeypatch.setattr(
        RecordReader,
        "_read_any",
        lambda *arguments: one_by_one.append(arguments) or read_any(*arguments),
    )
    reader = reader_of(tmp_path, [[record(at) for at in range(8)]])
    every = [(0, at) for at in range(8)]
    for number in range(1, record_reader.COMPILED_AFTER):
        read(reader, every)
        assert len(one_by_one) == 8 * number
    deadline = time.monotonic() + 60
    while one_by_one:
        assert time.monotonic() < deadline
        one_by_one.clear()
        arrays, _ = read(reader, every)
        assert arrays["image"][:, 0, 0, 0].tolist() == list(range(8))


def test_where_there_is_no_compiler_records_are_read_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "trainer.data.compiled_reader", None)
    reader = reader_of(tmp_path, [[record(3)]], is_compiled=True)
    arrays, _ = read(reader, [(0, 0), (0, 0)])
    assert (arrays["image"] == 3).all()
