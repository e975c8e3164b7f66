"""The same rows as text, Markdown, JSON and HTML."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tinynets as tn
from tinynets._explain.render.templates import tree

from .nets import Broken, Modes, Nested, explained, zoo

GOLDENS = Path(__file__).parent / "goldens"
ZOO = ["tiny_vision_mlp", "cifar_mlp", "lenet5", pytest.param("simple_vit", marks=pytest.mark.slow)]


def without_line_numbers(text: str) -> str:
    """Leave out what changes whenever somebody edits a docstring of the zoo."""
    text = re.sub(r"^ *\d+(?=[ >~])", "   #", text, flags=re.MULTILINE)
    return re.sub(r"\.py:\d+", ".py:#", text) + "\n"


@pytest.mark.parametrize("name", ZOO)
def test_golden_text(name: str) -> None:
    """`TINYNETS_WRITE_GOLDENS=1 pytest` writes them anew; read the difference before committing it."""
    text = without_line_numbers(zoo(name).to_text(depth=2))
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("TINYNETS_WRITE_GOLDENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 140])
def test_lines_fit_the_terminal(width: int) -> None:
    text = zoo("lenet5").to_text(width=width, depth=None)
    assert max(map(len, text.splitlines())) <= width


def test_printing_to_a_pipe_is_plain(capsys) -> None:
    explanation = explained(Modes)
    explanation.print()
    assert capsys.readouterr().out == str(explanation) + "\n"
    assert "\x1b" not in str(explanation)


def test_a_terminal_gets_colours(monkeypatch, capsys) -> None:
    pytest.importorskip("rich", reason="rich is an optional extra")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    explained(Modes).print()
    assert "\x1b[" in capsys.readouterr().out


def test_json_holds_everything() -> None:
    data = json.loads(explained(Nested).to_json())
    assert [run["mode"] for run in data["runs"]] == ["train", "eval"]
    line = data["runs"][0]["frame"]["lines"][0]
    assert line["values"][0]["shape"] == ["batch", "4"]
    assert line["frames"][0]["lines"][0]["ops"][0]["module"] == "body.0"


def test_markdown_is_a_table() -> None:
    text = explained(Broken).to_markdown().split("\n\n**")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "**failed here**" in text


class Balanced(HTMLParser):
    """Fails on a tag that is not closed where it was opened."""

    void = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        pass

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("model", [Nested, Broken, Modes])
def test_markup_is_well_formed(model, tmp_path) -> None:
    explanation = explained(model)
    page = explanation.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (explanation._repr_html_(), page):
        parser = Balanced()
        parser.feed(text)
        assert not parser.open
    assert not re.search(r"""(src|href)=["']?(https?:|//)|@import|url\((?!#)""", page)


@pytest.mark.slow
def test_importing_tinynets_imports_nothing_for_it() -> None:
    code = """
import sys, tinynets
heavy = {"sympy", "rich", "jinja2", "torch._dynamo", "torch.fx.experimental.symbolic_shapes", "tinynets._explain.record.trace"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("expression", "nested"),
    [
        ("784", 784),
        ("batch", "batch"),
        ("2048*batch+12", ["Add", ["Mult", 2048, "batch"], 12]),
        ("(tokens+3)//4", ["FloorDiv", ["Add", "tokens", 3], 4]),
        ("Max(1,-batch**2)", ["Max", 1, ["Sub", 0, ["Pow", "batch", 2]]]),
        ("?", None),
        ("batch/2", None),
        ("ceiling(batch)", None),
    ],
)
def test_what_the_page_can_compute(expression: str, nested: object) -> None:
    assert tree(expression) == nested


def test_expressions_are_in_terms_of_the_free_axes() -> None:
    run = zoo("cifar_mlp").run
    assert run.free == ("batch",)
    first = run.frame.lines[1]
    assert (first.values[0].shape, first.values[0].expressions) == (("batch", "hidden1"), ("batch", "512"))
    assert (first.macs.expression, first.allocated.expression) == ("1572864*batch", "4096*batch")
    assert tn.explain(Modes(), "batch 8", on="real").run.free == ()
