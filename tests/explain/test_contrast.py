"""Every colour of a text can be read on every ground that it may stand on, in both themes (WCAG 2.2, level AA)."""

import colorsys
import re
from pathlib import Path

import pytest

import tinynets as tn
from tinynets._explain.render import templates

ASSETS = Path(tn.__file__).parent / "_explain" / "render" / "assets"
STYLES = {path.name: path.read_text(encoding="utf-8") for path in ASSETS.glob("*.css*")}
TEXTS = {"ink", "dim", "bad", "act", "good", "cold"}
GROUNDS = {"paper", "wash", "fill", "rule"}  # a rule is the border of a box, never below a text
FAILED_PART = 0.14  # of the colour of an error, behind a line that failed
Colour = tuple[float, ...]


def palettes() -> dict[str, dict[str, str]]:
    light = STYLES["table.css"].partition("}")[0]
    dark = STYLES["dark.css.j2"].partition("{%- set palette -%}")[2].partition("{%- endset -%}")[0]
    first, second = STYLES["picture.css"].split("@media")
    texts = {"light": light, "dark": dark, "light picture": first, "dark picture": second}
    return {name: variables(text) for name, text in texts.items()}


def variables(text: str) -> dict[str, str]:
    found = dict(re.findall(r"--(\w+):\s*([^;}]+?)\s*(?=[;}]|$)", text, re.MULTILINE))
    ink = re.search(r"(?<![-\w])color:(#\w+)", text)  # the picture has no other name for it
    return {**({"ink": ink[1]} if ink else {}), **found}


def colour(text: str) -> Colour:
    digits = text.strip().removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    return tuple(int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4))


def hues(lightness: str) -> dict[str, Colour]:
    part = float(lightness.rstrip("%")) / 100
    return {f"hue {hue}": colorsys.hls_to_rgb(hue / 360, part, 0.75) for hue in templates._HUES}


def contrast(first: Colour, second: Colour) -> float:
    def luminance(value: Colour) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in value]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def too_faint(palette: dict[str, str]) -> list[str]:
    """Return the texts of a theme that are hard to read, with their ground and contrast."""
    texts = {name: colour(palette[name]) for name in sorted(TEXTS & palette.keys())} | hues(palette["light"])
    grounds = {name: colour(palette[name]) for name in sorted((GROUNDS - {"rule"}) & palette.keys())}
    if "bad" in palette:
        mixed = zip(colour(palette["bad"]), colour(palette["paper"]), strict=True)
        grounds["failed"] = tuple(FAILED_PART * a + (1 - FAILED_PART) * b for a, b in mixed)
    ratios = {(text, ground): contrast(texts[text], grounds[ground]) for text in texts for ground in grounds}
    return [f"{text} on {ground}: {ratio:.2f}" for (text, ground), ratio in ratios.items() if ratio < 4.5]


@pytest.mark.parametrize("theme", ["light", "dark", "light picture", "dark picture"])
def test_every_text_can_be_read(theme: str) -> None:
    palette = palettes()[theme]
    assert {"ink", "dim", "paper", "wash", "cold", "light"} <= palette.keys()
    assert too_faint(palette) == []


def test_a_faint_text_is_found() -> None:
    palette = {**palettes()["light"], "good": "#1a7f37", "light": "27%"}  # as it was
    assert "good on failed: 4.03" in too_faint(palette)
    assert "hue 55 on failed: 4.04" in too_faint(palette)
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)


def test_both_themes_have_all_colours_and_the_styles_use_no_other() -> None:
    themes = palettes()
    assert themes["light"].keys() == themes["dark"].keys() == TEXTS | GROUNDS | {"light"}
    assert themes["light picture"].keys() == themes["dark picture"].keys()
    styles = "".join(STYLES.values())
    used = re.findall(r"(?<![-\w])(?:color|fill|background)\s*:\s*([^;}]+)", styles)
    plain = {"inherit", "none", "currentColor"}
    names = {name for text in used for name in re.findall(r"var\(--(\w+)\)", text)}
    assert names <= TEXTS | GROUNDS | {"light", "part"}
    others = [text for text in used if not re.search("var|hsl", text) and text.strip() not in plain]
    assert sorted(others) == ["#1b1f24", "#e6edf3"]  # the ink of the picture
    assert f"color-mix(in srgb, var(--bad) {FAILED_PART:.0%},transparent)" in styles
