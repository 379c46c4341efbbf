"""Reads TensorBoard's pages in Chromium, once they show their content.

The pages are web components with content in shadow roots, so a search for elements
goes through all shadow roots.
"""

import contextlib
import pathlib
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

# Marks of modules whose tests need a browser.
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs Chromium: apt-get install chromium chromium-driver",
    ),
]
PATIENCE_SECS = 120
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
# Finds the elements that match a selector, in the page's document or below an element,
# and within shadow roots too.
_FIND = """
const [start, selector] = arguments;
const found = [];
function walk(root) {
    if (root.shadowRoot) walk(root.shadowRoot);
    found.push(...root.querySelectorAll(selector));
    for (const each of root.querySelectorAll('*')) {
        if (each.shadowRoot) walk(each.shadowRoot);
    }
}
walk(start || document);
return found;
"""


class Browser:
    """A Chromium that shows the pages of one TensorBoard."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self._url = url

    def open(self, page: str) -> None:
        """Loads a page afresh, by its name in the address."""
        self.driver.switch_to.default_content()
        self.driver.get("about:blank")
        self.driver.get(f"{self._url}#{page}")

    def find(self, selector: str, root: Any = None) -> list[Any]:
        """Returns the elements that match `selector` now, below `root` if given."""
        return self.driver.execute_script(_FIND, root, selector)

    def texts(self, selector: str, root: Any = None) -> list[str]:
        """Returns the visible text of each element that matches `selector` now."""
        return [
            self.driver.execute_script("return arguments[0].innerText", each).strip()
            for each in self.find(selector, root)
        ]

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """Waits until `condition()` is true, and returns its value.

        Raises:
            TimeoutException: If the value stays false; the message names `what`.
        """
        waiting = WebDriverWait(self.driver, PATIENCE_SECS, poll_frequency=0.2)
        return waiting.until(lambda _: _unless_stale(condition), f"no {what}")

    def click(self, element: Any) -> None:
        """Clicks an element, even if another element covers it."""
        self.driver.execute_script("arguments[0].click()", element)

    def show_cards(self, page: str, card: str, tags: str) -> dict[str, list[Any]]:
        """Opens a page of cards and waits until the cards of some tags are drawn.

        Args:
            page: `scalars` or `images`.
            card: Element name of the page's cards.
            tags: Regular expression of the tags; the page shows matching tags first.

        Returns:
            Cards of each tag.
        """
        self.open(f"{page}&tagFilter={urllib.parse.quote(tags)}")

        def find() -> dict[str, list[Any]]:
            by_tag: dict[str, list[Any]] = {}
            for each in self.find(card):
                label = self.texts(".heading-label.name", each)[0]
                if re.search(tags, label):
                    by_tag.setdefault(label, []).append(each)
            drawn = [self._is_drawn(c) for cards in by_tag.values() for c in cards]
            return by_tag if drawn and all(drawn) else {}

        return self.wait(f"cards of {tags}", find)

    def show_projector(self) -> tuple[int, int, list[str]]:
        """Opens the projector and waits for its points, their features and images.

        The driver stays in the frame that contains the projector.

        Returns:
            Number of points, number of dimensions, and all menu items; the features are
            among the items.
        """
        self.open("projector")
        for _ in range(2):
            frames = self.wait("frame", lambda: self.find("iframe"))
            self.driver.switch_to.frame(frames[0])

        def shown() -> tuple[int, int, list[str]] | None:
            numbers = [*self.texts(".numDataPoints"), *self.texts(".dim")]
            items = self.texts("paper-listbox paper-item")
            if len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
                return None
            num_points, num_dimensions = map(int, numbers)
            # The page shows zero points until it has read them.
            is_read = num_points > 0 and "key" in items
            return (num_points, num_dimensions, items) if is_read else None

        return self.wait("points with features", shown)

    def choose(self, name: str) -> None:
        """Chooses a menu item by its text, such as a run of the projector."""
        items = self.find("paper-listbox paper-item")
        texts = self.texts("paper-listbox paper-item")
        self.click(items[texts.index(name)])

    def points(self) -> list[tuple[dict[str, Any], list[float]]]:
        """Returns the features and the vector of each point of the projector."""
        script = """
            const {points} = arguments[0].dataSet || {points: []};
            return points.map(each => [each.metadata, Array.from(each.vector)]);
        """
        return self.driver.execute_script(script, self.find("vz-projector")[0])

    def _is_drawn(self, card: Any) -> bool:
        """Returns whether a card shows its picture, or curves with an end symbol."""
        script = "return arguments[0].every(e => e.complete && e.naturalWidth > 0)"
        images = self.find("img", card)
        if images:
            return self.driver.execute_script(script, images)
        return bool(self.find("path.symbol", card))


def _unless_stale(condition: Callable[[], Any]) -> Any:
    try:
        return condition()
    except StaleElementReferenceException:
        return None


@contextlib.contextmanager
def browsing(
    url: str, profile_dir: pathlib.Path, size: tuple[int, int] = (1400, 900)
) -> Iterator[Browser]:
    """Yields a headless Chromium with its own profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={profile_dir}")
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    service = Service(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()
