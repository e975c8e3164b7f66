"""HTML that the notebook and the page share: rows that open, and one colour for each axis name."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING

from ..records import Frame, Line, Run, TensorFacts
from .controls import tree
from .text import axis_names, fact_texts, footer, header, kind_text, without_annotation

if TYPE_CHECKING:
    from ..explanation import Explanation

# Hues far apart, each readable on white and, lightened, on black.
_HUES = (210, 0, 130, 280, 35, 180, 325, 90, 250, 55)

STYLE = """
.tn{--ink:#1b1f24;--dim:#57606a;--rule:#d8dee4;--paper:#fff;--wash:#f3f5f7;--bad:#b3261e;--act:#8a5300;
--good:#1a7f37;--light:27%;font:14px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
.tn .row{display:grid;grid-template-columns:4ch 1.2em minmax(18ch,5fr) minmax(14ch,3fr) minmax(18ch,5fr);
gap:0 .8em;padding:.18em .4em;border-bottom:1px solid var(--rule);align-items:start}
.tn code,.tn .shape{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;
overflow-wrap:anywhere;background:none;color:inherit;padding:0}
.tn .no,.tn .facts,.tn .note{color:var(--dim)}.tn .no{text-align:right;font-variant-numeric:tabular-nums}
.tn .facts{font-size:12.5px}.tn .bad{color:var(--bad);font-weight:600}.tn .act{color:var(--act)}
.tn .good{color:var(--good)}.tn .failed{background:color-mix(in srgb,var(--bad) 14%,transparent)}
.tn .differs{box-shadow:inset 3px 0 var(--act)}.tn .control code{color:var(--dim)}
.tn details>.inner{margin-left:1.6em;border-left:2px solid var(--rule)}
.tn summary{list-style:none;cursor:pointer}.tn summary::-webkit-details-marker{display:none}
.tn summary .mark::before{content:"\\25B8"}.tn details[open]>summary .mark::before{content:"\\25BE"}
.tn summary:hover,.tn summary:focus-visible{background:var(--wash)}
.tn .head{font-weight:600;padding:.5em .4em}.tn .path{color:var(--dim);padding:.18em .4em;font-size:12.5px}
"""


def axis_styles(count: int) -> str:
    """Return the rules that give every one of so many axis names its colour."""
    rules = [
        f".tn .a{index}{{color:hsl({_HUES[index % len(_HUES)]} 75% var(--light));font-weight:600}}"
        for index in range(count)
    ]
    return "".join(rules)


def shape_markup(shape: tuple[str, ...], axes: dict[str, int], tag: str = "span") -> str:
    """Return a shape with its axis names in their colours."""
    return f"[{', '.join(axis_markup(axis, axes, tag) for axis in shape)}]"


def axis_markup(axis: str, axes: dict[str, int], tag: str = "span") -> str:
    """Return one axis with the names in it in their colours."""

    def colour(match: re.Match[str]) -> str:
        index = axes.get(match[0])
        return match[0] if index is None else f'<{tag} class="a{index}">{match[0]}</{tag}>'

    return re.sub(r"[A-Za-z_][A-Za-z0-9_]*", colour, escape(axis))


def sized(html: str, expression: str, formula: str = "", *, unit: str = "", total: str = "") -> str:
    """Return a piece whose number the script can work out, with `formula` for when the number is shown."""
    size = tree(expression)
    if size is None or html.isdigit():
        return html
    data = f' data-unit="{unit}"' if unit else ""
    data += f' data-total="{escape(total)}"' if total else ""
    return (
        f'<span data-size="{escape(json.dumps(size))}" data-formula="{escape(formula)}"{data}>{html}</span>'
    )


class Markup:
    """Writes the rows of an explanation as HTML."""

    def __init__(self, explanation: Explanation) -> None:
        self.axes = {name: index for index, name in enumerate(axis_names(explanation))}
        self.depth = explanation.depth
        self.free = {name for run in explanation.runs for name in run.free}

    def run(self, run: Run) -> str:
        """Return one mode's rows, with what stands above and below."""
        head = escape(header(run)).replace("  ", " · ")
        for name in run.free:
            head = head.replace(f" {name}={run.axes[name]}", f" {name}={self.size(name, run.axes[name])}", 1)
        parts = [f'<div class="head">{head}</div>', self._arguments(run.frame)]
        parts += [self._line(run.frame, line, 1) for line in run.frame.lines]
        if run.error:
            parts.append(f'<p class="bad"><code>{escape(run.error)}</code></p>')
        totals, *rest = footer(run)
        parts.append(f'<div class="path">{self._totals(run, totals)}</div>')
        parts += [f'<div class="path">{escape(text)}</div>' for text in rest]
        return "".join(parts)

    def size(self, name: str, size: int) -> str:
        """Return the size of an axis, which follows what the reader types."""
        if name not in self.free:
            return str(size)
        return f'<span data-size="{escape(json.dumps(name))}" data-always>{size}</span>'

    def shape(self, value: TensorFacts) -> str:
        """Return a shape with its axis names in their colours."""
        axes = [
            sized(axis_markup(axis, self.axes), expression, axis)
            for axis, expression in zip(value.shape, value.expressions, strict=True)
        ]
        return f"[{', '.join(axes)}]"

    def _totals(self, run: Run, text: str) -> str:
        amounts = {"MACs": run.macs, "new": run.allocated, "saved for backward": run.saved}
        parts: list[str] = []
        for part in text.split(" | "):
            name = next((name for name, amount in amounts.items() if part == f"{amount.formula} {name}"), "")
            if name:
                amount, unit = amounts[name], "MACs" if name == "MACs" else "B"
                formula = escape(amount.formula)
                part = f"{sized(formula, amount.expression, formula, unit=unit, total=name)} {name}"
            parts.append(part if name else escape(part))
        return " | ".join(parts)

    def _arguments(self, frame: Frame) -> str:
        rows = [
            f'<div class="row argument"><span></span><span></span><code>{escape(argument.label)}</code>'
            f'<span class="shape">{self.shape(argument)}</span>'
            f'<span class="facts">{kind_text((argument,))}</span></div>'
            for argument in frame.arguments
        ]
        return "".join(rows)

    def _line(self, frame: Frame, line: Line, depth: int) -> str:
        classes = [
            "row",
            line.kind,
            *(["failed"] if line.failed else []),
            *(["differs"] if line.differs else []),
        ]
        code = (
            "  " * line.indent
            + escape(without_annotation(line))
            + (f"  x{line.count}" if line.count > 1 else "")
        )
        cells = (
            f'<span class="no">{line.line or ""}</span><span class="mark" aria-hidden="true"></span>'
            f"<code>{code}</code>{self._shapes(line)}{self._facts(line)}"
        )
        if not line.frames:
            return f'<div class="{" ".join(classes)}">{cells}</div>'
        shown = any(inner.path == frame.path for inner in line.frames) or line.failed
        shown = shown or self.depth is None or depth < self.depth
        inside = "".join(self._frame(inner, depth + (inner.path != frame.path)) for inner in line.frames)
        return (
            f'<details{" open" if shown else ""}><summary class="{" ".join(classes)}">{cells}</summary>'
            f'<div class="inner">{inside}</div></details>'
        )

    def _frame(self, frame: Frame, depth: int) -> str:
        name = f"{frame.path}: " if frame.path else ""
        title = f'<div class="path">{escape(name)}{escape(frame.module)}.{escape(frame.function)}</div>'
        rows = "".join(self._line(frame, line, depth) for line in frame.lines)
        return title + self._arguments(frame) + rows

    def _shapes(self, line: Line) -> str:
        named = len(line.values) > 1
        parts = [(escape(value.label) + " " if named else "") + self.shape(value) for value in line.values]
        verdict = {
            "=": ' <span class="good" title="as declared">=</span>',
            "≠": f' <span class="bad">≠ [{escape(", ".join(line.declared.split()))}]</span>',
            "": "",
        }[line.verdict]
        return f'<span class="shape">{"<br>".join(parts)}{verdict}</span>'

    def _amount(self, line: Line, fact: str) -> str:
        text = escape(fact)
        for amount, before, after, unit in ((line.allocated, "+", "", "B"), (line.macs, "", " MACs", "MACs")):
            if fact == f"{before}{amount.formula}{after}":
                return before + sized(amount.formula, amount.expression, amount.formula, unit=unit) + after
        return text

    def _facts(self, line: Line) -> str:
        facts = fact_texts(line) if line.kind != "control" else []
        parts = [
            f'<span class="act">{escape(fact)}</span>'
            if "ACTIVE" in fact or "batch statistics" in fact
            else self._amount(line, fact)
            for fact in facts
        ]
        text = " · ".join(parts)
        for warning in line.warnings:
            text += f'<div class="bad">! {escape(warning)}</div>'
        for name, what in line.operands:
            text += f"<div>{escape(name)} = {escape(what)}</div>"
        return f'<span class="facts">{text}</span>'
