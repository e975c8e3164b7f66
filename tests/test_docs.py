"""The documentation is true: its code runs and prints what it shows, its links lead somewhere, the site builds."""

import contextlib
import doctest
import importlib.util
import io
import linecache
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from inspect import isfunction, ismodule
from itertools import pairwise
from pathlib import Path
from types import FunctionType

import pytest
import torch
from jaxtyping import Float

import tinynets as tn
from tinynets.testing import definition

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SLOW = {
    "start",
    "migration",
    "explain",
    "export",
    "models",
}  # the first parses 5,000 digits and trains on them
OTHER_NAMES = {"explain"}  # its outputs have the lines and the names of the files net.py and broken.py
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str = "python") -> list[tuple[int, str, str]]:
    """Return the line, the source and the output shown right below of every block of a language."""
    text = page.read_text()
    found = list(BLOCK.finditer(text))
    below = {a.end(): b for a, b in pairwise(found) if not text[a.end() : b.start()].strip()}
    return [
        (
            text[: block.start(2)].count("\n"),
            block[2],
            shown[2] if (shown := below.get(block.end())) and shown[1] == "text" else "",
        )
        for block in found
        if block[1] == language
    ]


def without_places(text: str) -> str:
    """Leave out what depends on the file that code stands in: its name, and the numbers of its lines."""
    text = re.sub(r" · \S+:\d+\S*$", "", text, flags=re.MULTILINE)
    return re.sub(r"^ *\d+(?=[ >~])", "", text, flags=re.MULTILINE)


def run_page(page: Path, languages: tuple[str, ...] = ("python",), anywhere: bool = False) -> None:
    namespace: dict[str, object] = {"__name__": f"page_{page.stem}"}
    for line, source, shown in sorted(block for language in languages for block in blocks(page, language)):
        source = "\n" * line + source  # errors and checks name the line of the page
        filename = f"<{page.name}:{line}>"
        # Checks read the source of a forward, as they would in a notebook cell.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(source, filename, "exec"), namespace)
        same = without_places if anywhere else str
        if printed.getvalue():
            assert same(shown) in same(printed.getvalue()), f"{page.name}:{line} prints\n{printed.getvalue()}"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in SLOW))
        for page in PAGES
        if blocks(page)
    ],
)
def test_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, anywhere=page.stem in OTHER_NAMES)


@pytest.mark.filterwarnings("ignore:::lightning", "ignore:.*LeafSpec:FutureWarning")  # Lightning's own
@pytest.mark.parametrize(
    ("page", "partners"),
    [
        ("migration", ["torchvision", "torchinfo"]),
        ("own_images", ["torchvision"]),
        ("trainers", ["lightning", "transformers", "accelerate"]),
    ],
)
def test_the_pages_with_partners_run(
    page: str, partners: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for partner in partners:
        pytest.importorskip(partner)
    monkeypatch.chdir(tmp_path)
    run_page(ROOT / "docs" / f"{page}.md", ("python", "py"))


def test_the_page_of_findings_in_other_packages_runs() -> None:
    pytest.importorskip("vit_pytorch", reason="`make conformance-wild` installs it")
    run_page(ROOT / "docs" / "upstream_findings.md", ("py",))


def test_a_page_that_does_not_run_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "broken.md"
    page.write_text("text\n```python\nx = 1\n```\nmore\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        run_page(page)


def test_an_output_that_is_not_printed_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "stale.md"
    page.write_text("```python\nprint('new')\n```\n\n```text\nnew\n```\n")
    run_page(page)
    page.write_text("```python\nprint('new')\n```\n\n```text\nold\n```\n")
    with pytest.raises(AssertionError, match=r"stale\.md:1 prints"):
        run_page(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def public_names() -> set[str]:
    """Return every name that users may import, under the module that documents it."""
    models = {name for name in dir(tn.models) if name[0].isupper()} - {"Any", "TYPE_CHECKING"}
    testing = {name for name, value in vars(tn.testing).items() if name[0] != "_" and not ismodule(value)}
    return {
        *(f"tinynets.{name}" for name in set(tn.__all__) - models - {"models"}),
        *(f"tinynets.models.{name}" for name in models),
        *(f"tinynets.testing.{name}" for name in testing),
    }


def public_functions() -> list[object]:
    found = [getattr(tn, name) for name in tn.__all__] + [
        value for _, value in sorted(vars(tn.testing).items())
    ]
    return [value for value in found if isfunction(value)]


COMPILES = {"export", "load_exported", "optimize_for_inference"}


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(each, id=each.__name__, marks=[pytest.mark.slow] * (each.__name__ in COMPILES))
        for each in public_functions()
    ],
)
def test_every_public_function_has_an_example_that_runs(
    function: FunctionType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package.py").touch()
    assert tn.testing.list_checks()  # those that an example adds are forgotten afterwards
    monkeypatch.setattr(definition, "_REGISTERED", definition._REGISTERED.copy())
    names = {"tn": tn, "torch": torch, "nn": torch.nn, "Float": Float, "Tensor": torch.Tensor}
    names |= {"model": tn.TinyVisionMLP(), "images": torch.rand(2, 1, 28, 28)}
    (example,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs=names)
    printed = io.StringIO()
    result = doctest.DocTestRunner(verbose=False).run(example, out=printed.write)
    assert result.attempted > 0, "it has no example"
    assert result.failed == 0, printed.getvalue()


def test_an_example_that_is_wrong_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> None:
        """Have an example.

        Example:
            >>> 1 + 1
            3
        """

    with pytest.raises(AssertionError, match=r"Expected:\n +3"):
        test_every_public_function_has_an_example_that_runs(wrong, tmp_path, monkeypatch)
    wrong.__doc__ = "Have none."
    with pytest.raises(AssertionError, match="it has no example"):
        test_every_public_function_has_an_example_that_runs(wrong, tmp_path, monkeypatch)


def test_the_api_pages_have_every_public_name() -> None:
    texts = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    documented = set(re.findall(r"^::: ([\w.]+)$", texts, re.MULTILINE))
    documented |= set(re.findall(r"^ +heading: ([\w.]+)$", texts, re.MULTILINE))
    assert sorted(public_names() - documented) == []


needs_mkdocs = pytest.mark.skipif(
    not importlib.util.find_spec("mkdocs"), reason="mkdocs is not installed: pip install 'tinynets[docs]'"
)


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)],
        cwd=root,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )


class Loaded(HTMLParser):
    """Collects what a page loads, as far as it comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            loads = name == "src" or (name == "href" and tag == "link")
            if loads and value and re.match(r"(https?:)?//", value):
                self.elsewhere.append(value)


@needs_mkdocs
@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    run = build(ROOT, tmp_path / "site")
    assert run.returncode == 0, run.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 1  # README is none, and there is 404.html
    for page in pages:
        html = page.read_text()
        parser = Loaded()
        parser.feed(html)
        assert parser.elsewhere == [], page.name
        assert "doc-symbol-module" not in html, (
            f"{page.name} shows a module in place of the function of its name"
        )
    assert "TinyVisionMLP(images): axis 1 is 28, expected 1" in (tmp_path / "site" / "index.html").read_text()


@needs_mkdocs
@pytest.mark.slow
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("mkdocs.yml", "docs/hooks.py", "docs/contract.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    settings = (tmp_path / "mkdocs.yml").read_text()
    nav = re.compile(r"^nav:.*?(?=^validation:)", re.MULTILINE | re.DOTALL)
    pages = "nav:\n  - one: index.md\n  - two: contract.md\n\n"
    (tmp_path / "mkdocs.yml").write_text(nav.sub(pages, settings))
    page = tmp_path / "docs" / "index.md"
    page.write_text(
        "# Title\n\n[no page](gone.md), [no heading](contract.md#gone), [right](contract.md#errors)\n"
    )
    run = build(tmp_path, tmp_path / "site")
    assert run.returncode != 0
    assert "'gone.md'" in run.stderr
    assert "'contract.md#gone'" in run.stderr
    assert "#errors" not in run.stderr
