"""Checks the table of docs/reliability.md without running the suite that writes it."""

import pathlib

from tests.chaos import reliability

PAGE = reliability.PAGE.read_text(encoding="utf-8")


def test_the_table_has_a_row_for_each_scenario() -> None:
    assert list(reliability.rows_of(PAGE)) == reliability.scenarios()
    for happens, lost, _ in reliability.rows_of(PAGE).values():
        assert happens
        assert lost


def test_every_module_is_in_the_table() -> None:
    actual = pathlib.Path(__file__).parent.glob("test_*.py")
    names = {path.stem for path in actual if "\n@scenario(" in path.read_text()}
    assert names == set(reliability.MODULES)


def test_no_path_of_a_machine_is_in_the_table() -> None:
    assert "/tmp" not in PAGE
    assert "pytest" not in PAGE


def test_rows_are_put_in_order_and_read_again() -> None:
    rows = {"b": ("1", "2", "`x / y`"), "a": ("3", "4", "")}
    page = reliability.with_rows(PAGE, rows, ["a", "c", "b"])
    assert reliability.rows_of(page) == rows
    assert list(reliability.rows_of(page)) == ["a", "b"]
    assert (
        reliability.with_rows(
            page, reliability.rows_of(PAGE), list(reliability.rows_of(PAGE))
        )
        == PAGE
    )


def test_a_message_is_shown_without_what_differs_between_runs() -> None:
    shown = reliability.shown("at /a/run: 127.0.0.1:99 | x", {"WORKDIR": "/a/run"})
    assert shown == "`at WORKDIR: HOST:PORT / x`"
