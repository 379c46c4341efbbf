"""Opens the HTML report in Chromium."""

from collections.abc import Iterator

import pytest

from tests.trainer.report_pages import make_workdir, write, write_metrics

pytest.importorskip("selenium", reason="needs selenium, of the extra dev")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.trainer.browsing import MARKS, Browser, browsing  # noqa: E402

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Returns a browser at the page of a run of 100 steps."""
    workdir = make_workdir(
        tmp_path_factory.mktemp("runs") / "a_run_with_a_long_name_in_one_word",
        eval_line="x" * 300,
        num_train_steps=100,
    )
    write_metrics(
        workdir,
        *(
            {"step": step, "split": split, "elbo": -1234.25 + step, "x" * 40: step / 3}
            for step in range(0, 101, 10)
            for split in ("train", "validation", "another_split")
        ),
    )
    write(workdir)
    url = (workdir / "report.html").as_uri()
    with browsing(url, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _page(browser: Browser) -> None:
    browser.open("curves")


def tip(browser: Browser) -> str:
    (shown, *_) = browser.find(".tip")
    return shown.text


def polyline(browser: Browser) -> str:
    return browser.find("polyline")[0].get_attribute("points")


def test_values_are_shown_at_the_pointer_and_by_keys(browser: Browser) -> None:
    chart = browser.find("svg[data-chart]")[0]
    pointer = ActionChains(browser.driver)
    pointer.move_to_element(chart).perform()
    # The middle of the chart is a little left of the middle of its step axis.
    expected = "step 40\ntrain −1,194\nanother_split −1,194\nvalidation −1,194"
    assert sorted(tip(browser).split("\n")) == sorted(expected.split("\n"))
    chart.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert tip(browser).startswith("step 60\n")
    pointer.move_to_element(browser.find("h1")[0]).perform()
    assert tip(browser) == ""


def test_dragging_shows_a_part_of_the_steps(browser: Browser) -> None:
    chart, before = browser.find("svg[data-chart]")[0], polyline(browser)
    pointer = ActionChains(browser.driver)
    pointer.move_to_element_with_offset(chart, -40, 0).click_and_hold()
    pointer.move_by_offset(90, 0).release().perform()
    assert polyline(browser) != before
    labels = [text.text for text in browser.find(".axes text", chart)]
    assert "0" not in labels
    assert "100" not in labels
    assert all(label.isprintable() and "NaN" not in label for label in labels)
    (button, *_) = browser.find(".plot button")
    button.click()
    assert polyline(browser) == before
    assert not button.is_displayed()


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_screen(browser: Browser, width: int) -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    for details in browser.find("details"):
        browser.driver.execute_script("arguments[0].open = true", details)
    script = "return [document.documentElement.scrollWidth, innerWidth]"
    assert browser.driver.execute_script(script) == [width, width]
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_script_makes_no_error(browser: Browser) -> None:
    assert browser.driver.get_log("browser") == []


def test_the_bar_stays_in_sight(browser: Browser) -> None:
    (link,) = [each for each in browser.find("nav a") if each.text == "Provenance"]
    link.click()
    (bar,) = browser.find("nav")
    script = "return arguments[0].getBoundingClientRect().top"
    browser.wait(
        "bar at the top", lambda: browser.driver.execute_script(script, bar) == 0
    )
