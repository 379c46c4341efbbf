import errno
import pathlib

import pytest

from trainer import atomic_files


def test_half_a_file_is_never_seen(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half(self: pathlib.Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "write_bytes", write_half)
        with pytest.raises(OSError, match="No space"):
            atomic_files.write(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    atomic_files.write(path, b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
