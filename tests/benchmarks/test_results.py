import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import results


@pytest.fixture(autouse=True)
def parsed():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])


def test_a_row_is_printed_and_appended(tmp_path, capsys):
    path = tmp_path / "history.csv"
    with flagsaver.flagsaver(results=str(path)):
        results.add_row("prepare", {"what": "8 images, 2 workers", "images/s": "7"})
        first = path.read_text()
        results.add_row("threads", {"cores": "2"})
        results.add_row("prepare", {"what": 'a "quote"', "of own": "0.5"})
    assert path.read_text().startswith(first)
    history = results.read(path)
    measured = {
        name: [{column: row[column] for column in list(row)[3:]} for row in rows]
        for name, rows in history.items()
    }
    assert measured == {
        "prepare": [
            {"what": "8 images, 2 workers", "images/s": "7"},
            {"what": 'a "quote"', "of own": "0.5"},
        ],
        "threads": [{"cores": "2"}],
    }
    printed = capsys.readouterr().out.splitlines()
    rows = [history["prepare"][0], history["threads"][0], history["prepare"][1]]
    assert printed == [f"| {' | '.join(row.values())} |" for row in rows]
    assert list(rows[0])[:3] == ["date", "commit", "hardware"]
