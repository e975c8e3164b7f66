"""The page in a real browser: rows, toggles, keyboard, both themes, and a silent console."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets._explain.explanation import Explanation
from tinynets._explain.recording.amounts import human

from .nets import Broken, Modes

# selenium comes with the development extra. It could download a browser too, but tests use no network.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which("chromedriver")
MISSING = [
    f"{what} ({remedy})"
    for what, remedy, found in (
        ("selenium", "pip install selenium", importlib.util.find_spec("selenium")),
        ("a Chromium", "apt-get install chromium", CHROMIUM),
        ("its driver", "apt-get install chromium-driver", DRIVER),
    )
    if not found
]
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
    pytest.mark.skipif(bool(MISSING), reason=f"not here: {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def vit() -> Explanation:
    return tn.explain(tn.create_model("simple_vit"), modes=("train", "eval"))


@pytest.fixture
def page(browser: Any, vit: Explanation, tmp_path: Path) -> Iterator[Any]:
    browser.get(vit.to_html(tmp_path / "page.html").as_uri())
    browser.explanation = vit
    yield browser
    assert_silent(browser)


def assert_silent(browser: Any) -> None:
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def visible(page: Any, selector: str) -> list[Any]:
    return [element for element in page.find_elements("css selector", selector) if element.is_displayed()]


def test_every_record_is_a_row(page: Any) -> None:
    for run in page.explanation.runs:
        rows = page.find_elements(
            "css selector", f"section[data-mode={run.mode}] .row:not(.argument, .heads)"
        )
        assert len(rows) == len(list(run.frame.walk()))


def test_modes_toggle(page: Any) -> None:
    assert [s.get_attribute("data-mode") for s in visible(page, "section")] == ["train"]
    page.find_element("css selector", "input[value=eval]").click()
    assert [s.get_attribute("data-mode") for s in visible(page, "section")] == ["eval"]
    assert "eval" in visible(page, ".head")[0].text


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
    page.find_element("name", "open").click()
    assert len(visible(page, ".row:not(.argument, .heads)")) == len(list(page.explanation.run.frame.walk()))
    page.find_element("name", "close").click()
    assert len(visible(page, ".row:not(.argument, .heads)")) == len(page.explanation.lines)


def codes(page: Any) -> list[str]:
    rows = visible(page, ".lines > .row, .lines > details > .row")
    return [row.find_element("css selector", "code").text.partition(" = ")[0] for row in rows]


def test_a_column_sorts_and_the_code_brings_the_order_back(page: Any) -> None:
    before = codes(page)
    press = lambda name: visible(page, f"[name=sort][value='{name}']")[0].click()  # noqa: E731
    press("params")
    assert codes(page) != before
    assert sorted(codes(page)) == sorted(before)
    assert codes(page).index("attended") < codes(page).index("patches")
    assert visible(page, "[name=sort][aria-pressed=true]")[0].text == "params"
    press("")
    assert codes(page) == before


def test_lines_are_found_inside_modules_too(page: Any) -> None:
    before = codes(page)
    page.find_element("name", "find").send_keys("SELF.ATTENTION(")
    assert any("self.attention(" in row.text for row in visible(page, "code"))
    assert "attended" in codes(page)
    assert "logits" not in codes(page)
    page.find_element("name", "find").send_keys("\b" * 20)
    assert set(before) <= set(codes(page))


def test_a_box_opens_the_flow_inside(page: Any) -> None:
    opened = "details.nested[open]"
    assert not visible(page, opened)
    page.execute_script("arguments[0].focus()", visible(page, "svg a")[0])
    page.switch_to.active_element.send_keys("\n")
    assert [d.find_element("css selector", "summary").text for d in visible(page, opened)]


def test_the_table_is_copied_as_markdown(page: Any) -> None:
    page.execute_script(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: (t) => { window.got = t; }}})"
    )
    page.find_element("name", "copy").click()
    assert (
        page.execute_script("return window.got") == page.explanation.to_markdown().split("\n\n**")[0] + "\n"
    )
    assert page.find_element("name", "copy").text == "copied"


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
        for selector in ("code", ".notes", ".cost", ".legend span span", ".act", ".flow text"):
            for element in visible(page, selector)[:40]:
                name = "fill" if selector.startswith(".flow") else "color"
                assert contrast(element.value_of_css_property(name), paper) >= 4.5, (
                    theme,
                    selector,
                    element.text,
                )
        assert page.save_screenshot(str(tmp_path / f"{theme}.png"))
        page.find_element("name", "theme").click()
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


def type_size(browser: Any, axis: str, size: str) -> None:
    """By the keyboard alone."""
    field = browser.find_element("css selector", f"input[type=number][name={axis}]")
    browser.execute_script("arguments[0].focus(); arguments[0].select()", field)
    browser.switch_to.active_element.send_keys(size)


def as_in_a_browser(size: int) -> str:
    """Bytes as `human` writes them, but 40.125 becomes 40.13 in a browser and 40.12 in Python."""
    return human(size * (1 + 1e-9), "B")


def test_another_batch_changes_every_number_to_what_a_trace_of_it_says(browser: Any, tmp_path: Path) -> None:
    page, model = browser, tn.create_model("lenet5")
    explanation = tn.explain(model, modes=("train", "eval"))
    page.get(explanation.to_html(tmp_path / "page.html").as_uri())
    type_size(page, "batch", "48")
    images = torch.empty(48, *explanation.run.frame.arguments[0].sizes[1:])
    traced = tn.explain(model, images, modes=("train", "eval"))
    for name in ("train", "eval"):
        page.find_element("css selector", f"input[value={name}]").click()
        run = next(run for run in traced.runs if run.mode == name)
        lines = [line for _, _, line in run.frame.walk()]
        section = f"section[data-mode={name}]"
        texts = page.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((row) => ({"
            "shape: row.querySelector('.shape').textContent, facts: [...row.querySelectorAll('.cost')].map((cell) => cell.textContent)}))",
            f"{section} .row:not(.argument, .heads)",
        )
        assert len(texts) == len(lines)
        for text, line in zip(texts, lines, strict=True):
            if len(line.values) == 1:
                assert text["shape"].split("]")[0] == str(list(line.values[0].sizes))[:-1]
            if line.macs.value:
                assert text["facts"][1] == f"{line.macs.value:,}"
            if line.allocated.value:
                assert text["facts"][2] == as_in_a_browser(line.allocated.value)
        told = page.find_element("css selector", ".bar output").text
        saved, new = as_in_a_browser(run.saved.value), as_in_a_browser(run.allocated.value)
        assert told == f"{run.macs.value:,} MACs · {new} new · {saved} saved for backward"
        assert "batch = 48" in page.find_element("css selector", f"{section} .head").text


def test_numbers_go_back_to_names_and_wrong_sizes_change_nothing(page: Any) -> None:
    cells = lambda: page.execute_script("return document.querySelector('section').textContent")  # noqa: E731
    before = cells()
    type_size(page, "batch", "7")
    assert "[7, 10]" in cells()
    for wrong in ("0", "-3"):
        type_size(page, "batch", wrong)
        assert "[7, 10]" in cells()
    pasted = "const f = document.querySelector('input[type=number]'); f.value = '1e2';"
    page.execute_script(pasted + "f.dispatchEvent(new Event('input'))")
    assert "[7, 10]" in cells()
    type_size(page, "batch", "32\n")  # enter sends no form
    page.find_element("name", "numbers").send_keys(" ")
    assert cells() == before


def test_several_axes_and_a_size_that_passes_what_a_double_holds(browser: Any, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv1d(64, 8, 3, stride=2), nn.Flatten())
    browser.get(tn.explain(model, "batch=3 64 length=77").to_html(tmp_path / "page.html").as_uri())
    type_size(browser, "length", "1000")
    rows = [row.text for row in visible(browser, ".row .shape")]
    assert rows == ["[3, 64, 1000] f32", "[3, 8, 499] f32", "[3, 3992] f32"]
    type_size(browser, "batch", "9007199254740993")
    assert f"{9007199254740993 * 64 * 8 * 3 * 499:,} MACs" in browser.find_element("tag name", "output").text
    assert_silent(browser)


def test_a_page_of_one_mode_says_how_to_get_both(browser: Any, tmp_path: Path) -> None:
    browser.get(tn.explain(Modes(), "batch 8").to_html(tmp_path / "page.html").as_uri())
    assert not visible(browser, "input[type=radio]")
    assert 'modes=("train", "eval") shows both' in visible(browser, ".bar")[0].text


def test_sizes_that_cannot_change_are_not_offered(browser: Any, tmp_path: Path) -> None:
    real = tn.explain(Modes(), torch.rand(4, 8), on="real")
    browser.get(real.to_html(tmp_path / "page.html").as_uri())
    assert not visible(browser, "input[type=number]")
    assert_silent(browser)


def test_two_outputs_of_a_notebook_do_not_disturb_each_other(browser: Any, tmp_path: Path) -> None:
    explanation = tn.explain(Modes(), "batch 8", modes=("train", "eval"))
    page = tmp_path / "notebook.html"
    output = explanation._repr_html_()
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{output}<hr>{output}", encoding="utf-8")
    browser.get(page.as_uri())
    first, second = browser.find_elements("css selector", ".tn")
    first.find_element("css selector", "input[value=eval]").click()
    field = first.find_element("css selector", "input[type=number]")
    field.clear()
    field.send_keys("5")
    assert "· eval" in first.text
    assert "[5, 8]" in first.text
    assert "· train" in second.text
    assert "[batch, 8]" in second.text
    assert_silent(browser)


def test_without_a_script_a_notebook_shows_all_modes_and_no_controls(browser: Any, tmp_path: Path) -> None:
    output = tn.explain(Modes(), "batch 8", modes=("train", "eval"))._repr_html_()
    page = tmp_path / "notebook.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{output.partition('<script>')[0]}")
    browser.get(page.as_uri())
    assert len(visible(browser, "section")) == 2
    assert not visible(browser, ".bar")


def test_a_failure_is_marked(browser: Any, tmp_path: Path) -> None:
    browser.get(tn.explain(Broken(), "batch 8").to_html(tmp_path / "broken.html").as_uri())
    failed = visible(browser, ".failed")
    assert len(failed) == 1
    assert "hidden = [batch, 16]" in failed[0].text
