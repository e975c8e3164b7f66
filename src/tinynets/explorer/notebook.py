"""What a notebook shows: the rows of the page, without the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .markup import STYLE, Markup, axis_styles

if TYPE_CHECKING:
    from .explanation import Explanation

_DARK = """
@media (prefers-color-scheme:dark){.tn{--ink:#e6edf3;--dim:#9aa4ae;--rule:#30363d;--paper:#0d1117;
--wash:#161b22;--bad:#ff7b72;--act:#e3b341;--good:#56d364;--light:72%}}
"""


def fragment(explanation: Explanation) -> str:
    """Return the table as a piece of HTML that brings its own style."""
    markup = Markup(explanation)
    runs = "".join(f"<section>{markup.run(run)}</section>" for run in explanation.runs)
    return f'<div class="tn"><style>{STYLE}{_DARK}{axis_styles(len(markup.axes))}</style>{runs}</div>'
