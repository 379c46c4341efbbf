import pathlib

import pytest

from trainer import atomic_files


def test_half_a_file_is_never_seen(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        atomic_files.write(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    atomic_files.write(path, b"new")
    assert path.read_text() == "new"
