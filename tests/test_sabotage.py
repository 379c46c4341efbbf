"""The table of `make sabotage` fits the code; `make sabotage` runs it."""

from collections import Counter

import pytest

from tests.sabotage import find_sabotage_tests, patch
from tests.sabotages import SABOTAGES, Sabotage
from tests.workshop import ROOT


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name)
def test_a_mistake_fits_one_place(sabotage: Sabotage) -> None:
    text = (ROOT / sabotage.path).read_text(encoding="utf-8")
    changed = patch(sabotage, text)
    assert changed != text
    compile(changed, sabotage.path, "exec")


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name)
def test_a_mistake_has_tests(sabotage: Sabotage) -> None:
    for argument in find_sabotage_tests(sabotage):
        path, _, name = argument.partition("::")
        if name:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert f"\ndef {name}(" in text


def test_a_mistake_has_a_name_of_its_own() -> None:
    (_, most), *_ = Counter(one.name for one in SABOTAGES).most_common(1)
    assert most == 1
