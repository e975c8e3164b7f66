"""Find names in annotations that do not exist yet: defined later in the file, or imported under `if
TYPE_CHECKING`; they are looked up when a value is checked.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import resolve_name
from typing import Any

from jaxtyping import AnnotationError

from .parse_hints import has_tensors
from .plain_types import later_name


def stand_in(name: str, filename: str, module_globals: dict[str, Any]) -> Any:
    """Return the object that a missing name refers to, or None if its file does not say where it comes from.

    An object that does not exist yet is replaced with a stand-in, which looks it up when a value is checked.
    """
    places = _module_names("".join(linecache.getlines(filename, module_globals)))
    if name not in places:
        return None
    module, attribute = places[name] or ("", "")
    with contextlib.suppress(ImportError):  # the dots lead out of the package
        module = resolve_name(module, module_globals.get("__package__"))
    if module in sys.modules:
        found = sys.modules[module]
        if not attribute or hasattr(found, attribute):
            return getattr(found, attribute) if attribute else found
    # A function, so that cloudpickle copies only the globals that it reads.
    read = eval(f"lambda: {name}", module_globals)

    def look_up() -> Any:
        try:
            hint = read()
        except NameError:
            hint = getattr(sys.modules.get(module), attribute)
        if has_tensors(hint):
            raise AnnotationError(
                f"the annotation {name} holds tensors, so it must exist when the function is defined:"
                " define or import it before"
            )
        return hint

    return later_name(name, look_up)


@lru_cache(maxsize=2)
def _module_names(text: str) -> dict[str, tuple[str, str] | None]:
    """Map each name that a module binds to where it is imported from, or to None if it is defined there."""
    try:
        return dict(_bound_by(ast.parse(text).body))
    except SyntaxError:
        return {}


def _bound_by(statements: list[ast.stmt]) -> Iterator[tuple[str, tuple[str, str] | None]]:
    for statement in statements:
        match statement:
            case ast.ImportFrom():
                module = "." * statement.level + (statement.module or "")
                for alias in statement.names:
                    yield alias.asname or alias.name, (module, alias.name)
            case ast.Import():
                for alias in statement.names:
                    name = alias.name if alias.asname else alias.name.split(".")[0]
                    yield alias.asname or name, (name, "")
            case ast.ClassDef() | ast.FunctionDef():
                yield statement.name, None
            case ast.Assign() | ast.AnnAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield target.id, None
            case _:
                name = getattr(statement, "name", None)
                if isinstance(name, ast.Name):  # `type Images = ...`, Python 3.12
                    yield name.id, None
                for field in ("body", "orelse", "finalbody"):
                    yield from _bound_by(getattr(statement, field, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _bound_by(handler.body)
