"""Writes pages of runs and parses them."""

import base64
import html.parser
import io
import json
import pathlib

from PIL import Image

from trainer.reporting.html.page import write as write_page

VOID = {"meta", "img", "line", "polyline", "circle"}


class Page(html.parser.HTMLParser):
    """The elements of a page, whose tags must be balanced."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.text, self.open = "", []
        self.elements = list[tuple[str, dict[str, str]]]()
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open[-1:] != ["script"]:
            self.text += data + "\n"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def pictures(self) -> list[Image.Image]:
        actual = []
        for image in self.all("img"):
            data = base64.b64decode(image["src"].partition(",")[2], validate=True)
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
            assert picture.size == (int(image["width"]), int(image["height"]))
            actual.append(picture)
        return actual

    def curves(self) -> dict[tuple[str, str], int]:
        """Returns the number of points of each curve, by metric and split."""
        actual, label = {}, ""
        for tag, attributes in self.elements:
            label = attributes.get("aria-label", label)
            if tag == "polyline":
                key = label.removesuffix(" by step"), attributes["data-label"]
                actual[key] = len(attributes["points"].split())
        return actual


def write(workdir: pathlib.Path) -> Page:
    write_page(workdir, workdir / "report.html")
    return Page(workdir / "report.html")


def make_workdir(directory: pathlib.Path, **config: object) -> pathlib.Path:
    directory.mkdir(parents=True)
    dataset = {"digest": "abc123", "settings": {"source": "folder"}, "path": "/a/faces"}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "dataset.json").write_text(json.dumps(dataset))
    return directory


def write_metrics(workdir: pathlib.Path, *lines: object) -> None:
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (workdir / "metrics.jsonl").write_text(text)
