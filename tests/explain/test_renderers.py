"""The same rows as text, Markdown, JSON and HTML."""

import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets._explain.render.columns import shorten
from tinynets._explain.render.short_numbers import short
from tinynets._explain.render.templates import tree

from .nets import Broken, Modes, Nested, explained, zoo

GOLDENS = Path(__file__).parent / "goldens"
ZOO = ["tiny_vision_mlp", "cifar_mlp", "lenet5", pytest.param("simple_vit", marks=pytest.mark.slow)]


def without_line_numbers(text: str) -> str:
    """Leave out what changes whenever somebody edits a docstring of the zoo."""
    text = re.sub(r"^ *\d+(?=[ >~])(?! of )", "   #", text, flags=re.MULTILINE)
    return re.sub(r"\.py:\d+", ".py:#", text) + "\n"


@pytest.mark.parametrize("name", ZOO)
def test_golden_text(name: str) -> None:
    """`TINYNETS_OVERWRITE=1 pytest` writes them anew; read the difference before committing it."""
    text = without_line_numbers(zoo(name).to_text(width=110, depth=2))
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("TINYNETS_OVERWRITE"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_the_readme_shows_what_is_printed() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("tinynets explain tinynets:TinyVisionMLP\n")[2].partition("```")[0]
    (printed, _, _) = zoo("tiny_vision_mlp").to_text(width=110).replace("~", " ").partition("\n\n")
    assert without_line_numbers(shown.strip()) == without_line_numbers(printed)


@pytest.mark.parametrize("width", [60, 80, 110, 160])
def test_lines_fit_the_terminal(width: int) -> None:
    for explanation in (zoo("lenet5"), explained(Nested), explained(Broken), explained(Modes)):
        text = explanation.to_text(width=width, depth=None)
        assert max(map(len, text.splitlines())) <= width


def test_columns_are_aligned() -> None:
    lines = zoo("tiny_vision_mlp").to_text(width=110).split("\n\n")[0].splitlines()[2:7]
    assert lines[0].split() == ["line", "code", "output", "params", "MACs", "memory", "notes"]
    for head, cells in (
        ("params", ["-", "201.0 k", "-", "2.6 k"]),
        ("MACs", ["-", "200.7 k", "-", "2.6 k"]),
        ("memory", ["view", "2.0 KiB", "2.0 KiB", "40 B"]),
    ):
        end = lines[0].index(head) + len(head)
        for line, cell in zip(lines[1:], cells, strict=True):
            assert line[:end].endswith(f"  {cell}")
    assert len({line.index("=", 30) for line in lines[1:]}) == 1
    assert lines[3].endswith("2.0 KiB  dropout 0.1 ON")


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = zoo("tiny_vision_mlp")
    monkeypatch.setenv("COLUMNS", "75")
    assert str(explanation) == explanation.to_text(width=75) != explanation.to_text(width=110)
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((132, 40)))
    monkeypatch.setattr(sys, "stdout", sys.__stderr__)
    assert str(explanation) == explanation.to_text(width=132)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    assert str(explanation) == explanation.to_text(width=110)


def test_costs_are_those_of_one_sample_whatever_the_batch_and_said_in_full_where_they_are_not() -> None:
    few, many = (str(tn.explain(Nested(), torch.zeros(batch, 8))) for batch in (4, 64))
    assert many.replace("batch = 64", "batch = 4") == few
    assert "200 MACs and 128 B saved per sample" in few
    assert "in all" not in few
    layer = nn.Linear(8, 2, bias=False)
    assert "in all MACs 16·batch·tokens · new memory" in str(tn.explain(layer, "batch=2 tokens=7 8"))
    assert "16 MACs and 32 B saved per rows" in str(tn.explain(layer, "rows=4 8"))
    assert "64 MACs and 128 B saved\n" in str(tn.explain(layer, torch.zeros(4, 8), on="real")) + "\n"


def test_what_is_frozen_is_said() -> None:
    model = Nested()
    model.body.requires_grad_(False)
    text = str(tn.explain(model, "batch 8"))
    assert "total 226 parameters (10 trainable, 216 frozen, 0.9 kB)" in text
    assert "192 B\n       strided · frozen\n" in text
    model.head.bias.requires_grad_(False)
    assert "2 parameters frozen" in str(tn.explain(model, "batch 8"))


@pytest.mark.parametrize(
    ("count", "text"), [(640, "640"), (999, "999"), (999.96, "1.0 k"), (203_264, "203.3 k"), (4.1e9, "4.1 G")]
)
def test_short_numbers(count: float, text: str) -> None:
    assert short(count) == text


def test_code_is_cut_in_its_last_argument() -> None:
    assert shorten("flat = rearrange(images, 'b c h w -> b (c h w)')", 30) == "flat = rearrange(images, '...)"
    assert shorten("x = y", 5) == "x = y"


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
    """Fails on a tag that is not closed where it was opened, an id given twice, and a link to an id that nobody has."""

    void = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        for name, value in attrs:
            if name == "id":
                assert value not in self.ids
                self.ids.append(value)
            self.targets += [value[1:]] if name == "href" and value[0] == "#" else []
            self.targets += re.findall(r"url\(#(.*?)\)", value or "")
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("markup", ["<p><b></p></b>", '<p id="a"></p><p id="a"></p>'])
def test_bad_markup_is_seen(markup: str) -> None:
    with pytest.raises(AssertionError):
        Balanced().feed(markup)


@pytest.mark.parametrize("model", [Nested, Broken, Modes])
def test_markup_is_well_formed(model, tmp_path) -> None:
    explanation = explained(model)
    page = explanation.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (explanation._repr_html_(), page):
        parser = Balanced()
        parser.feed(text)
        assert not parser.open
        assert set(parser.targets) <= set(parser.ids)
    assert not re.search(r"""(src|href)=["']?(https?:|//)|@import|url\((?!#)""", page)


@pytest.mark.slow
def test_importing_tinynets_imports_nothing_for_it() -> None:
    code = """
import sys, tinynets
heavy = {"sympy", "rich", "jinja2", "torch._dynamo", "torch.fx.experimental.symbolic_shapes", "tinynets._explain.recording.trace"}
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
