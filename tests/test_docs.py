"""Every Python block of README and docs runs, from top to bottom as one script per page."""

import contextlib
import io
import linecache
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str]]:
    text = page.read_text()
    return [(text[: found.start(1)].count("\n"), found[1]) for found in BLOCK.finditer(text)]


def run_page(page: Path, name: str) -> None:
    namespace: dict[str, object] = {"__name__": f"page_{page.stem}"}
    for line, source in blocks(page):
        source = "\n" * line + source  # errors and checks name the line of the page
        filename = f"<{name}:{line}>"
        # Checks read the source of a forward, as they would in a notebook cell.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, filename, "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, page.name)


def test_a_page_that_does_not_run_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "broken.md"
    page.write_text("text\n```python\nx = 1\n```\nmore\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        run_page(page, "broken.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
