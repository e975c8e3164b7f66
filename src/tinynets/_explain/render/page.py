"""One page that shows a forward pass and needs nothing but a browser."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from .controls import CONTROL_STYLE, SCRIPT, bar
from .data import to_data
from .markup import STYLE, Markup, axis_styles
from .picture import FLOW_STYLE, flow_picture
from .text import axis_names

if TYPE_CHECKING:
    from ..explanation import Explanation

_DARK = """--ink:#e6edf3;--dim:#9aa4ae;--rule:#30363d;--paper:#0d1117;--wash:#161b22;--bad:#ff7b72;
--act:#e3b341;--good:#56d364;--light:72%"""

_PAGE_STYLE = f"""
@media (prefers-color-scheme:dark){{:root:not([data-theme=light]) .tn{{{_DARK}}}}}
:root[data-theme=dark] .tn{{{_DARK}}}
:root{{color-scheme:light dark}}:root[data-theme=dark]{{color-scheme:dark}}
:root[data-theme=light]{{color-scheme:light}}
body{{margin:0}}.tn{{min-height:100vh;box-sizing:border-box;padding:1.2em clamp(.6em,3vw,2.5em)}}
h1{{font-size:1.35em;margin:0}}h2{{font-size:1.05em;margin:1.6em 0 .4em}}
.legend{{display:flex;flex-wrap:wrap;gap:.2em 1em;font-family:ui-monospace,monospace;font-size:13px}}
.flow{{max-width:100%;height:auto}}
{FLOW_STYLE}
@media (max-width:700px){{.tn .row{{grid-template-columns:4ch 1.2em 1fr}}
.tn .row>.shape,.tn .row>.facts{{grid-column:3}}}}
@media print{{.tn{{padding:0}}.tn .row{{break-inside:avoid}}}}
"""


def page(explanation: Explanation) -> str:
    """Return the page."""
    markup = Markup(explanation)
    title = f"{explanation.model}: the forward pass"
    # The data must not be able to end its own script element.
    data = json.dumps(to_data(explanation), ensure_ascii=False).replace("<", "\\u003c")
    sections = [
        f'<section data-mode="{escape(run.mode)}">{markup.run(run)}'
        f"{_titled(flow_picture(run, markup.axes))}</section>"
        for run in explanation.runs
    ]
    style = f"{STYLE}{CONTROL_STYLE}{_PAGE_STYLE}{axis_styles(len(markup.axes))}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f'<body><main class="tn"><h1>{escape(title)}</h1>{bar(explanation, theme=True)}'
        f"{_legend(explanation, markup)}"
        f'{"".join(sections)}</main><script type="application/json" id="data">{data}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _legend(explanation: Explanation, markup: Markup) -> str:
    sizes = explanation.axes
    items = [
        f'<span><span class="a{markup.axes[name]}">{escape(name)}</span>'
        f"{f' = {markup.size(name, sizes[name])}' if name in sizes else ''}</span>"
        for name in axis_names(explanation)
    ]
    return f'<div class="legend" aria-label="axes">{"".join(items)}</div>'


def _titled(picture: str) -> str:
    return f"<h2>Flow</h2>{picture}" if picture else ""
