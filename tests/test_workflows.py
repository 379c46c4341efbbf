"""Workflows pin their actions, have no secrets, and run targets of the Makefile."""

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(ROOT.glob(".github/workflows/*.yml"))


def test_there_are_some() -> None:
    assert [path.name for path in FILES] == ["checks.yml", "long.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_runs_targets_and_pinned_actions(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "secrets." not in text
    body = yaml.safe_load(text)
    assert body["permissions"] == {"contents": "read"}
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    for job in body["jobs"].values():
        assert job["timeout-minutes"]
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
            else:
                make, target = step["run"].split()[:2]
                assert make == "make"
                assert target in phony[1].split()
