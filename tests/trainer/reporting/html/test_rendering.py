"""Templates of the report escape all text and use only defined values."""

import ast
import fnmatch
import html.parser
import io
import pathlib

import jinja2
import numpy as np
import pytest
from PIL import Image

from trainer.reporting.html import comparison, page, rendering
from trainer.reporting.html.pictures import Picture
from trainer.reporting.html.run_files import RunFiles

ROOT = pathlib.Path(__file__).parents[4]
TEMPLATES = ROOT / "trainer/reporting/html/templates"
# This text would end an attribute in either kind of quotes, and an element.
HOSTILE = "\"' onload=x> </title></style></svg><script>alert(1)</script><b a='&amp;"


class Elements(html.parser.HTMLParser):
    """The elements and attribute names of a page, and all of its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found, self.text = list[tuple[str, list[str]]](), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, [name for name, _ in attrs]))
        self.text += "".join(f"\n{value}" for _, value in attrs)

    def handle_data(self, data) -> None:
        self.text += data


def make_run(text: str) -> RunFiles:
    """Returns a run that has `text` wherever a run can hold text."""
    with io.BytesIO() as file:
        Image.fromarray(np.zeros([4, 4, 3], np.uint8)).save(file, format="PNG")
        data = file.getvalue()
    pictures = [
        Picture(f"picture {text}", step, 4, 4, "image/png", data) for step in (0, 1)
    ]
    values = {"elbo": 2.0, f"metric {text}": 1.0, "ledger": f"ledger {text}"}
    lines = [
        {"step": step, "split": f"split {text}", **values, f"metric {text}": step}
        for step in (1, 2)
    ]
    return RunFiles(
        name=f"name {text}",
        config={
            f"setting {text}": f"value {text}",
            f"list {text}": [f"entry {text}"],
            "num_train_steps": 5,
        },
        dataset={
            "digest": f"{text[:12]} digest",
            "settings": {"image_size": f"size {text}", f"option {text}": 1},
            "path": f"/a/place {text.replace('/', '')}",
        },
        metrics=lines,
        num_damaged_lines=1,
        pictures=pictures[-1:],
        samples=pictures,
        generated=[Picture(f"generated {text}", 0, 4, 4, "image/png", data)],
        damaged_pictures=[f"damaged {text}"],
        scores={f"score {text.replace('/', '')}": {"kl": f"found {text}", text: 2.0}},
        saved=[{"step": f"saved {text}", "sha256": text, "dataset_digest": text}],
        busy_secs=1.0,
        written_at=0.0,
    )


def compare(text: str) -> str:
    """Returns the page that compares two runs with `text` in everything."""
    other = make_run(text)
    other.config["num_train_steps"] = 6
    return comparison.render({f"first {text}": make_run(text), f"other {text}": other})


def test_text_of_several_runs_stays_text_wherever_it_stands() -> None:
    hostile = Elements(compare(HOSTILE))
    assert hostile.found == Elements(compare("harmless")).found
    for word in ("first", "other", "split", "metric", "picture", "found"):
        assert f"{word} {HOSTILE}" in hostile.text


def test_text_of_a_run_stays_text_wherever_it_stands() -> None:
    hostile = Elements(page.render(make_run(HOSTILE)))
    assert hostile.found == Elements(page.render(make_run("harmless"))).found
    for word in (
        *("name", "setting", "value", "list", "entry", "size", "--option", "split"),
        *("metric", "ledger", "picture", "generated", "damaged", "found", "saved"),
    ):
        assert f"{word} {HOSTILE}" in hostile.text
    for word in ("place", "score"):
        assert f"{word} {HOSTILE.replace('/', '')}" in hostile.text


@pytest.mark.parametrize("template", ["page.html", "comparison.html", "chart.svg"])
def test_a_value_that_is_missing_is_an_error(template: str, monkeypatch) -> None:
    given, render = {}, rendering.render

    def note_and_render(name: str, **values: object) -> str:
        given[name] = values
        return render(name, **values)

    monkeypatch.setattr(rendering, "render", note_and_render)
    page.render(make_run("a"))
    compare("a")
    assert len(given[template]) > 9
    for name in given[template]:
        values = {key: each for key, each in given[template].items() if key != name}
        with pytest.raises(jinja2.UndefinedError, match=f"'{name}' is undefined"):
            render(template, **values)


def test_the_style_sheet_and_the_script_are_in_the_page() -> None:
    css = (TEMPLATES / "style.css").read_text().strip()
    assert f"<style>\n{css}\n</style>" in page.render(make_run("a"))
    script = (TEMPLATES / "charts.js").read_text().strip()
    assert f"<script>\n{script}\n</script>" in page.render(make_run("a"))


def test_an_installation_has_the_templates() -> None:
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "package_data":
            patterns = ast.literal_eval(node.value)["trainer.reporting.html"]
    files = [path for path in TEMPLATES.rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        name = str(path.relative_to(TEMPLATES.parent))
        assert path.parent == TEMPLATES
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
