"""The estimate on the page about scale is what its own lines compute."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_estimate_prints_what_the_page_shows() -> None:
    page = PAGE.read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), {})
    assert f"```text\n{printed.getvalue()}```" in page


def test_the_error_names_the_line_that_there_is() -> None:
    (line,) = re.findall(r"attention\.py:(\d+): expanded", PAGE.read_text())
    source = (PAGE.parents[1] / "src" / "tinynets" / "layers" / "attention.py").read_text().splitlines()
    assert source[int(line) - 1].strip().startswith("expanded: Float")
