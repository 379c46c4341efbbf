import errno
import os
import pathlib

import pytest

from trainer.system import atomic_files


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
        with pytest.raises(OSError, match="No space") as raised:
            atomic_files.write(path, b"new")
    assert raised.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    atomic_files.write(path, b"new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["directory", "file", "link", "pipe"])
def test_what_has_the_temporary_name_is_not_written_through(tmp_path, kind) -> None:
    path, target = tmp_path / "file", tmp_path / "theirs"
    temporary = atomic_files.temporary_path(path)
    target.write_text("theirs")
    if kind == "directory":
        (temporary / "below").mkdir(parents=True)
    elif kind == "file":
        temporary.write_text("of a killed process")
    elif kind == "link":
        temporary.symlink_to(target)
    else:
        os.mkfifo(temporary)
    atomic_files.write(path, b"new")
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert target.read_text() == "theirs"
    assert not os.path.lexists(temporary)
