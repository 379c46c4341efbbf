"""The version is the same everywhere, a licence exists, and the guides are true."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
VERSION = re.search(r'^    version="(.+)",$', (ROOT / "setup.py").read_text(), re.M)[1]


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", text, re.MULTILINE)[1] == VERSION


def test_images_have_the_version() -> None:
    num_seen = 0
    for path in (ROOT / "deploy").rglob("*"):
        if path.suffix not in (".yaml", ".Dockerfile", ".md"):
            continue
        text = path.read_text()
        actual = re.findall(r"vaeline-\w+:(\d[\w.]*)", text)
        actual += re.findall(r"newTag: (\d[\w.]*)", text)
        assert set(actual) <= {VERSION}, path
        num_seen += len(actual)
    assert num_seen > 15


def test_the_licence_is_the_one_that_is_named() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert 'license="Apache-2.0"' in (ROOT / "setup.py").read_text()


def sections() -> dict[str, str]:
    """Returns the guides of CONTRIBUTING.md, keyed by title."""
    parts = re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.M)[1:]
    return {part.splitlines()[0]: part.split("\n", 1)[1].strip() for part in parts}


@pytest.mark.parametrize("title", ["A source", "A model", "A likelihood", "A runner"])
def test_a_guide_is_short_and_names_what_there_is(title: str) -> None:
    guide = sections()[title]
    assert len(guide.splitlines()) < 10
    steps = re.split(r"^\d\. ", guide, flags=re.MULTILINE)[1:]
    for step in steps:
        words = re.findall(r"`([^`\n]+)`", step)
        files = [ROOT / word for word in words if "/" in word and "NAME" not in word]
        assert all(file.exists() for file in files), files
        # Search files only: a name from a folder may be in any of its files.
        texts = [file.read_text() for file in files if file.is_file()]
        for word in words:
            if re.fullmatch(r"_?[a-zA-Z]\w+", word) and texts:
                assert any(re.search(rf"\b{word}\b", text) for text in texts), word
