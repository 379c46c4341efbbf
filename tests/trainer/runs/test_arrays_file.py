"""The arrays of a checkpoint: other tools read them, and damage is one clear line."""

import itertools
import json
import pathlib
import tracemalloc
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from tests.trainer.runs import sealed
from trainer.runs import arrays_file, checkpoints

TYPES = [
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
]
TYPES += ["float16", "float32", "float64"]
ARRAYS: dict[str, Any] = {
    **{f"of {name}": np.arange(-2, 3).astype(name) for name in TYPES},
    "step": np.int64(5),
    "a number": np.array(2.5, np.float32),
    "nothing": np.zeros((0, 3), np.float32),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "every other": np.arange(9, dtype=np.int32)[::2],
    "big-endian": np.arange(4, dtype=">i4"),
    'quoted " \n \\ é': np.array([np.nan, np.inf, -0.0], np.float32),
}


def same(found: dict[str, np.ndarray], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        native = array.dtype.newbyteorder("=")
        assert (found[name].shape, found[name].dtype) == (array.shape, native), name
        assert found[name].tobytes() == array.astype(native).tobytes(), name


def test_arrays_come_back_and_other_tools_open_them(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "state.safetensors"
    arrays_file.write(path, ARRAYS)
    same(arrays_file.read(path), ARRAYS)
    same(safetensors.numpy.load(path.read_bytes()), ARRAYS)
    arrays_file.write(path, {})
    assert arrays_file.read(path) == {}


def test_what_other_tools_write_is_read(tmp_path: pathlib.Path) -> None:
    arrays = {name: np.ascontiguousarray(a) for name, a in ARRAYS.items()}
    path = tmp_path / "state.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"by": "another tool"})
    same(arrays_file.read(path), arrays)


def test_equal_arrays_are_equal_files(tmp_path: pathlib.Path) -> None:
    data = set()
    chosen = ["step", "of float32", "of bool", "transposed"]
    for names in itertools.permutations(chosen):
        arrays = {name: np.copy(ARRAYS[name]) for name in names}
        arrays_file.write(tmp_path / "state.safetensors", arrays)
        data.add((tmp_path / "state.safetensors").read_bytes())
    (actual,) = data
    header = json.loads(actual[8 : 8 + int.from_bytes(actual[:8], "little")])
    # The file has no content that varies from one write to the next.
    assert list(header) == ["step", "transposed", "of float32", "of bool"]


def test_every_array_begins_at_a_multiple_of_its_width(tmp_path) -> None:
    path = tmp_path / "state.safetensors"
    arrays_file.write(path, ARRAYS)
    data = path.read_bytes()
    num_bytes = int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8 : 8 + num_bytes]).items():
        start = 8 + num_bytes + entry["data_offsets"][0]
        assert start % ARRAYS[name].dtype.itemsize == 0, name


def test_others_may_read_it_as_any_new_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "new").write_text("")
    arrays_file.write(tmp_path / "state.safetensors", ARRAYS)
    modes = [path.stat().st_mode for path in tmp_path.iterdir()]
    assert len(modes) == 2
    assert modes[0] == modes[1]


def test_no_second_copy_is_in_memory(tmp_path: pathlib.Path) -> None:
    arrays = {str(i): np.zeros(1 << 18) for i in range(16)}
    tracemalloc.start()
    try:
        arrays_file.write(tmp_path / "state.safetensors", arrays)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], object),
        np.array("text"),
        np.array([b"bytes"]),
        np.zeros(2, complex),
        np.zeros(2, [("a", "i4")]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, tf.bfloat16.as_numpy_dtype),
        np.zeros(2, np.longdouble),
    ],
    ids=lambda array: array.dtype.name,
)
def test_other_types_are_not_written(tmp_path: pathlib.Path, array) -> None:
    with pytest.raises(
        arrays_file.ArraysError, match=r"^x has .* but a checkpoint holds only"
    ):
        arrays_file.write(
            tmp_path / "state.safetensors", {"a": ARRAYS["step"], "x": array}
        )
    assert not list(tmp_path.iterdir())


def entry(dtype: str, shape: list[Any], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


SOUND = {"x": entry("F32", [4], 0, 16)}
TEXT = json.dumps(SOUND).encode()
DAMAGED = {
    "empty": b"",
    "cut in the length": b"\x01\0\0",
    "cut in the header": sealed.safetensors(SOUND, b"")[:20],
    "cut in an array": sealed.safetensors(SOUND, bytes(15)),
    "too long": sealed.safetensors(SOUND, bytes(17)),
    "no JSON": sealed.safetensors(b"{" + TEXT, bytes(16)),
    "no UTF-8": sealed.safetensors(b"\xff\xfe", bytes(16)),
    "a list": sealed.safetensors([], b""),
    "deep": sealed.safetensors(b"[" * 100_000, b""),
    "no entry": sealed.safetensors({"x": 1}, bytes(16)),
    "a part is gone": sealed.safetensors({"x": {"dtype": "F32"}}, bytes(16)),
    "length 0": sealed.safetensors(TEXT, bytes(16), num_bytes=0),
    "a short length": sealed.safetensors(TEXT, bytes(16), num_bytes=9),
    "a long length": sealed.safetensors(TEXT, bytes(16), num_bytes=len(TEXT) + 1),
    "length 99 MB": sealed.safetensors(TEXT, bytes(16), num_bytes=99_000_000),
    "length 2**63": sealed.safetensors(TEXT, bytes(16), num_bytes=2**63),
    "length 2**64 - 1": sealed.safetensors(TEXT, bytes(16), num_bytes=2**64 - 1),
    "one place twice": sealed.safetensors(
        {"x": entry("F32", [4], 0, 16), "y": entry("F32", [4], 0, 16)}, bytes(16)
    ),
    "overlapping": sealed.safetensors(
        {"x": entry("F32", [3], 0, 12), "y": entry("F32", [2], 8, 16)}, bytes(16)
    ),
    "a hole": sealed.safetensors(
        {"x": entry("F32", [1], 0, 4), "y": entry("F32", [2], 8, 16)}, bytes(16)
    ),
    "one name for two places": sealed.safetensors(
        b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"x":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
        bytes(16),
    ),
    "not from the start": sealed.safetensors(
        {"x": entry("F32", [2], 8, 16)}, bytes(16)
    ),
    "backwards": sealed.safetensors({"x": entry("F32", [4], 16, 0)}, bytes(16)),
    "another shape": sealed.safetensors({"x": entry("F32", [5], 0, 16)}, bytes(16)),
    "a shape of floats": sealed.safetensors(
        {"x": entry("F32", [4.0], 0, 16)}, bytes(16)
    ),
    "a shape below 0": sealed.safetensors({"x": entry("F32", [-4], 0, 16)}, bytes(16)),
    "a shape that overflows": sealed.safetensors(
        {"x": entry("F32", [2, 2**62, 2], 0, 16)}, bytes(16)
    ),
    "too wide a shape of nothing": sealed.safetensors(
        {"x": entry("F32", [0, 2**63], 0, 0)}, b""
    ),
    "too many axes": sealed.safetensors({"x": entry("F32", [1] * 70, 0, 4)}, bytes(4)),
    "a type of none": sealed.safetensors({"x": entry("OBJECT", [2], 0, 16)}, bytes(16)),
    **{
        f"type {kind}": sealed.safetensors({"x": entry(kind, [num], 0, 16)}, bytes(16))
        for kind, num in (("BF16", 8), ("F8_E4M3", 16), ("C64", 2), ("F4", 32))
    },
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_clear_line(tmp_path: pathlib.Path, name: str) -> None:
    # Anyone who edits a file can also seal it anew.
    path = tmp_path / "step-000000002"
    sealed.seal(path, "state.safetensors", DAMAGED[name])
    with pytest.raises(checkpoints.CheckpointError) as raised:
        checkpoints.load(path)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{path} is damaged: ")
    assert len(line) < len(str(path)) + 300
    # The previous checkpoint is loaded instead.
    checkpoints.save(tmp_path, 1, {"step": np.int64(1)}, {})
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 1


def test_the_sound_form_of_those_is_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "step-000000001"
    sealed.seal(path, "state.safetensors", sealed.safetensors(SOUND, bytes(16)))
    same(checkpoints.load(path)[0], {"x": np.zeros(4, np.float32)})


@pytest.mark.parametrize("step", [1, 2, 3])
def test_every_cut_and_every_flipped_byte_is_noticed(tmp_path, step: int) -> None:
    path = checkpoints.save(tmp_path, step, {"step": np.int64(step)}, {})
    file = path / "state.safetensors"
    data = file.read_bytes()
    for at in range(len(data)):
        file.write_bytes(data[:at])
        assert not checkpoints.is_whole(path)
        file.write_bytes(data[:at] + bytes([data[at] ^ step]) + data[at + 1 :])
        with pytest.raises(checkpoints.CheckpointError, match="its sha256 differs"):
            checkpoints.load(path)
    file.write_bytes(data)
    assert checkpoints.load(path)[0]["step"] == step
