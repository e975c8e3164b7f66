"""The templates under `assets/`: HTML, SVG, CSS and JavaScript in files of their own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .facts import code_of, conditions, dtypes_of, facts_of, notes, place_of, totals
from .size_trees import tree

if TYPE_CHECKING:
    import jinja2

# Hues far apart, so that neighbours differ.
_HUES = (210, 0, 130, 280, 35, 180, 325, 90, 250, 55)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2  # not before it is needed: `import tinynets` is quicker without

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    functions: dict[str, Any] = {
        "code": code_of,
        "conditions": conditions,
        "dtypes": dtypes_of,
        "facts": facts_of,
        "notes": notes,
        "place": place_of,
        "totals": totals,
        "tree": tree,
    }
    environment.filters.update(functions)
    values: dict[str, Any] = {"hues": _HUES}
    environment.globals.update(values)
    return environment


def render(template: str, /, **values: Any) -> str:
    """Fill a template; every value is escaped."""
    return _environment().get_template(template).render(values)
