"""The templates lose nothing, escape everything, and are the only place where HTML, CSS and JavaScript stand."""

import ast
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets._explain.explanation import Explanation
from tinynets._explain.render import templates
from tinynets._explain.render.facts import code_of, costs_of, notes, notes_of, totals

from .nets import Broken, Modes, Nested, explained

SOURCE = Path(tn.__file__).parent
ASSETS = SOURCE / "_explain" / "render" / "assets"


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def assert_nothing_is_lost(explanation: Explanation, page: str) -> None:
    """Every record is a row of the page, in order, and says all that is known of it."""
    sections = re.findall(r"<section.*?</section>", page, re.DOTALL)
    assert len(sections) == len(explanation.runs)
    for run, section in zip(explanation.runs, sections, strict=True):
        starts = [match.start() for match in re.finditer(r'class="row (?!argument|heads)', section)]
        lines = [line for _, _, line in run.frame.walk()]
        assert len(starts) == len(lines)
        for line, start, end in zip(lines, starts, [*starts[1:], len(section)], strict=True):
            said = text_of(section[start:end])
            for value in line.values:
                assert f"[{', '.join(value.shape)}]" in said
            wanted = [code_of(line), *map(str, costs_of(line)), *notes_of(line), *line.warnings]
            wanted += [f"{name} = {what}" for name, what in line.operands]
            assert [text for text in wanted if text not in said] == []
        said = text_of(section)
        frames = {id(frame): frame for _, frame, _ in run.frame.walk()}.values()
        wanted = [
            f"{argument.label}[{', '.join(argument.shape)}]" for f in frames for argument in f.arguments
        ]
        wanted += [*map(str, totals(run)), *notes(run), run.error]
        assert [text for text in wanted if text not in said] == []


class Spare(Modes):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(1, 1)


@pytest.mark.parametrize("model", [Nested, Broken, Spare])
def test_the_page_and_the_notebook_lose_nothing(model: type[nn.Module], tmp_path: Path) -> None:
    explanation = explained(model)
    page = explanation.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert_nothing_is_lost(explanation, page)
    assert_nothing_is_lost(explanation, explanation._repr_html_())
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    assert json.loads(data[1]) == json.loads(explanation.to_json())


@pytest.mark.parametrize(
    ("model", "right", "wrong"),
    [
        (Nested, "line in frame.lines", "line in frame.lines[1:]"),
        (Nested, "lines(run.frame, 1)", "''"),
        (Nested, "for value in line.values", "for value in line.values[1:]"),
        (Modes, "note in facts.notes_of(line)", "note in facts.notes_of(line)[1:]"),
        (Nested, "{{ fact(item) }}", ""),
        (Broken, "name, what in line.operands", "name, what in line.operands[1:]"),
        (Broken, "{{ run.error }}", ""),
        (Spare, "note in facts.notes(run)", "note in []"),
        (Modes, "total in facts.totals(run)", "total in facts.totals(run)[1:]"),
    ],
)
def test_a_template_that_loses_something_is_found(
    model: type[nn.Module], right: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (ASSETS / "rows.html.j2").read_text(encoding="utf-8")
    assert right in rows
    environment = templates._environment().overlay()
    broken = jinja2.DictLoader({"rows.html.j2": rows.replace(right, wrong)})
    environment.loader = jinja2.ChoiceLoader([broken, environment.loader])
    environment.cache = None
    monkeypatch.setattr(templates, "_environment", lambda: environment)
    with pytest.raises(AssertionError):
        assert_nothing_is_lost(explained(model), explained(model)._repr_html_())


def test_every_axis_that_stayed_a_symbol_has_a_field() -> None:
    explanation = tn.explain(nn.Conv2d(3, 4, 3), "batch=2 3 height=9 width=7")
    fields = re.findall(r'<input type="number" name="(\w+)"[^>]* value="(\d+)"', explanation._repr_html_())
    assert explanation.run.free == ("batch", "height", "width")
    assert fields == [("batch", "2"), ("height", "9"), ("width", "7")]


class Hostile(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"</script><b>'&\"": x + 1, "{{ view }}": x}


def test_text_of_the_user_is_never_markup(tmp_path: Path) -> None:
    explanation = tn.explain(Hostile(), "batch 8")
    page = explanation.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert page.count("</script>") == 2
    assert_nothing_is_lost(explanation, page)


def test_every_asset_is_used() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*ASSETS.iterdir(), *ASSETS.parent.glob("*.py"))]
    for path in ASSETS.iterdir():
        assert any(f'"{path.name}"' in text for text in texts), f"nothing uses {path.name}"


# What a string that holds HTML, SVG, CSS or JavaScript looks like.
MARKUP = re.compile(
    r"</\w+>|<(?:div|span|svg|path|text|rect|style|script|form|input|section|table)\b"
    r"|\{[\s\w-]+:[^{}]+;[^{}]*\}|=>\s*[{(\w]|\b(?:const|let) \w+ =|addEventListener"
)


def long_markup(source: str) -> Iterator[int]:
    """Yield the lines of strings of more than one line that hold markup; docstrings do not count."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in docstrings:
            long = (node.end_lineno or 0) > node.lineno
            if long and MARKUP.search(ast.get_source_segment(source, node) or ""):
                yield node.lineno


@pytest.mark.slow
def test_no_markup_in_strings_of_python() -> None:
    paths = sorted(SOURCE.rglob("*.py"))
    assert len(paths) > 100
    found = [f"{path}:{line}" for path in paths for line in long_markup(path.read_text(encoding="utf-8"))]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        'x = (\n    f"<div class={y}>"\n    f"{z}</div>"\n)',
        'x = """\n.tn .bar{display:flex;gap:1em}\n"""',
        'x = """\nconst shown = () => all("section");\n"""',
        'x = (\n    \'<svg width="3">\'\n    "<path/>"\n)',
    ],
)
def test_markup_in_strings_is_found(text: str) -> None:
    assert list(long_markup(text))
