"""The HTML page of `to_html` and the table of a notebook, from the templates `page.html.j2` and
`notebook.html.j2` in `assets/`, where their texts, buttons and styles are.
"""

from __future__ import annotations

from .json_markdown import to_data
from .picture import flow_panels
from .templates import render
from .view import View


def to_page(view: View) -> str:
    """Return a self-contained page."""
    flows = [flow_panels(run, view.axes, f"flow-{number}") for number, run in enumerate(view.runs)]
    sections = list(zip(view.runs, flows, strict=True))
    return render(
        "page.html.j2", view=view, sections=sections, theme=True, count=len(view.axes), data=to_data(view)
    )


def to_notebook(view: View) -> str:
    """Return the table as an HTML fragment with its own styles."""
    return render("notebook.html.j2", view=view, theme=False, count=len(view.axes))
