import errno

import pytest

from pipeline import files


def test_a_text_is_written_in_full_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_text(path, "old")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_text(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"
