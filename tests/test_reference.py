"""The reference is made from the code, and has every flag and every setting."""

from configs import celeba
from tests import reference
from tests.pages import PAGES, ROOT, read


def test_the_page_is_what_the_code_says() -> None:
    assert read("docs/reference.md") == reference.text(), "python -m tests.reference"


def test_every_setting_has_a_meaning_of_its_own() -> None:
    rows = list(reference.settings())
    assert {name for _, name, _ in rows} == set(celeba.get_config())
    meanings = [meaning for _, _, meaning in rows]
    assert all(meaning.endswith(".") for meaning in meanings), meanings
    assert len(set(meanings)) == len(meanings)


def test_every_command_is_on_the_page() -> None:
    modules = {
        f"{path.parent.name}.{path.stem}"
        for package in ("pipeline", "trainer")
        for path in (ROOT / package).glob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert modules == set(reference.COMMANDS)
    assert "docs/reference.md" in PAGES
