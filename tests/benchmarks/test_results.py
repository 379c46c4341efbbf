import re

import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import results
from tests.pages import read


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


@pytest.mark.parametrize(
    ("promised", "measured"),
    [
        (
            r"(\d+) times as fast as PyTorch's loader of JPEGs",
            r"loader of JPEGs \| (.*)",
        ),
        (r"(\d+) to (\d+) times its loader of arrays", r"loader of arrays \| (.*)"),
        (r"(\d+) times grain", r"times grain, ArrayRecord \| (.*)"),
        (r"([\d.]+) to ([\d.]+) times the better of Py", r"groups?: [^|]* \| (1[^|]*)"),
        (r"(\d+) times the writer of Tens", r"10,000 images: .* ours is ([\d.]+)x"),
    ],
)
def test_the_speeds_of_the_readme_were_measured(promised: str, measured: str) -> None:
    (match,) = re.finditer(promised, read("README.md"))
    least = [float(number) for number in match.groups()]
    found = " ".join(re.findall(measured, read("benchmarks/RESULTS.md")))
    # The last column of a row is the goal.
    actual = sorted(float(number) for number in re.findall(r"\d+\.\d+", found))
    for number, measurement in zip(least, (actual[0], actual[-1]), strict=False):
        assert 0.9 * measurement < number <= measurement
