import errno

import pytest

from pipeline import files


def test_a_file_is_written_in_full_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_bytes(path, b"old")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_bytes(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"
