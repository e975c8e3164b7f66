"""The page in a real browser: rows, toggles, keyboard, both themes, and a silent console."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tinynets as tn

from .nets import Broken

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1150,1400",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no Chromium: apt-get install chromium chromium-driver"
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium drives the browser: pip install selenium"
    )
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    explanation = tn.explain(tn.create_model("simple_vit"), modes=("train", "eval"))
    browser.get(explanation.to_html(tmp_path / "page.html").as_uri())
    browser.explanation = explanation
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def visible(page: Any, selector: str) -> list[Any]:
    return [element for element in page.find_elements("css selector", selector) if element.is_displayed()]


def test_every_record_is_a_row(page: Any) -> None:
    for run in page.explanation.runs:
        rows = page.find_elements("css selector", f"section[data-mode={run.mode}] .row:not(.argument)")
        assert len(rows) == len(list(run.frame.walk()))


def test_modes_toggle(page: Any) -> None:
    assert [s.get_attribute("data-mode") for s in visible(page, "section")] == ["train"]
    page.find_element("css selector", "input[value=eval]").click()
    assert [s.get_attribute("data-mode") for s in visible(page, "section")] == ["eval"]
    assert "EVAL" in visible(page, ".head")[0].text


def test_modules_open_by_click_and_by_key(page: Any) -> None:
    before = len(visible(page, ".row"))
    closed = next(d for d in visible(page, "details") if d.get_attribute("open") is None)
    summary = closed.find_element("css selector", "summary")
    summary.click()
    assert len(visible(page, ".row")) > before
    page.execute_script("arguments[0].focus()", summary)
    page.switch_to.active_element.send_keys("\n")
    assert len(visible(page, ".row")) == before


def test_open_all_and_close_all(page: Any) -> None:
    page.find_element("id", "open").click()
    assert len(visible(page, ".row:not(.argument)")) == len(list(page.explanation.run.frame.walk()))
    page.find_element("id", "close").click()
    assert len(visible(page, ".row:not(.argument)")) == len(page.explanation.lines)


def test_printing_opens_everything(page: Any) -> None:
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert not page.find_elements("css selector", "details:not([open])")


def luminance(colour: str) -> float:
    red, green, blue = (float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3])

    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_both_themes_are_readable(page: Any, tmp_path: Path) -> None:
    seen = set()
    for theme in ("first", "second"):
        paper = page.find_element("css selector", "main").value_of_css_property("background-color")
        seen.add(paper)
        for selector in ("code", ".facts", ".legend span span", ".act", ".flow text"):
            for element in visible(page, selector)[:40]:
                name = "fill" if selector.startswith(".flow") else "color"
                assert contrast(element.value_of_css_property(name), paper) >= 4.5, (
                    theme,
                    selector,
                    element.text,
                )
        assert page.save_screenshot(str(tmp_path / f"{theme}.png"))
        page.find_element("id", "theme").click()
    assert len(seen) == 2


def test_an_axis_has_one_colour_everywhere(page: Any) -> None:
    colours = {
        element.value_of_css_property("color") for element in page.find_elements("css selector", ".a0")
    }
    assert len(colours) == 1


def test_a_narrow_window_does_not_scroll_sideways(page: Any) -> None:
    page.set_window_size(500, 900)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.set_window_size(1150, 1400)


def test_a_failure_is_marked(browser: Any, tmp_path: Path) -> None:
    browser.get(tn.explain(Broken(), "batch 8").to_html(tmp_path / "broken.html").as_uri())
    failed = visible(browser, ".failed")
    assert len(failed) == 1
    assert "hidden = [batch, 16]" in failed[0].text
