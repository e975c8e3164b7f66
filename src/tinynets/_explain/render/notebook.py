"""What a notebook shows: the rows of the page, without the page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .controls import CONTROL_STYLE, SCRIPT, bar
from .markup import STYLE, Markup, axis_styles

if TYPE_CHECKING:
    from ..explanation import Explanation

# Notebooks have themes of their own, which need not be the one of the system.
_COLOURS = """--ink:#e6edf3;--dim:#9aa4ae;--rule:#30363d;--paper:#0d1117;--wash:#161b22;--bad:#ff7b72;
--act:#e3b341;--good:#56d364;--light:72%"""
_DARK = f"""
@media (prefers-color-scheme:dark){{
:root:not(:has([data-jp-theme-light=true],.vscode-light)) .tn{{{_COLOURS}}}}}
[data-jp-theme-light=false] .tn,.vscode-dark .tn{{{_COLOURS}}}
"""


def fragment(explanation: Explanation) -> str:
    """Return the table as a piece of HTML that brings its own style."""
    markup = Markup(explanation)
    runs = [
        f'<section data-mode="{escape(run.mode)}">{markup.run(run)}</section>' for run in explanation.runs
    ]
    style = f"{STYLE}{CONTROL_STYLE}{_DARK}{axis_styles(len(markup.axes))}"
    return (
        f'<div class="tn"><style>{style}</style>{bar(explanation, theme=False)}{"".join(runs)}</div>'
        f"<script>{SCRIPT}</script>"
    )
