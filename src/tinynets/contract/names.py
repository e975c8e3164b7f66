"""What the names in an annotation mean where a function is defined, and which of its axes look misspelt."""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
from collections import Counter
from types import FrameType, FunctionType
from typing import Any

from jaxtyping import AnnotationError


class Namespace:
    """Resolves annotations as if they stood where a function or class is defined.

    Args:
        module_globals: the globals of the module it stands in.
        function: the function, for the names that it closes over.
    """

    def __init__(self, module_globals: dict[str, Any], function: FunctionType | None = None) -> None:
        self._globals = module_globals
        self._locals: dict[str, Any] = {}
        for frame in _defining_frames(module_globals):
            self._locals = {**frame.f_locals, **self._locals}
        cells = (function.__closure__ or ()) if function else ()
        for name, cell in zip(function.__code__.co_freevars if function else (), cells, strict=True):
            with contextlib.suppress(ValueError):  # not assigned yet, such as the class that is being created
                self._locals[name] = cell.cell_contents

    def resolve(self, annotation: Any) -> Any:
        """Turn an annotation (an object, a string, or a piece of syntax) into a type hint.

        Raises:
            AnnotationError: it names something that does not exist at run time.
        """
        if isinstance(annotation, ast.Constant):
            annotation = annotation.value
        if isinstance(annotation, ast.expr):
            annotation = ast.unparse(annotation)
        if not isinstance(annotation, str):
            return annotation
        try:
            hint = eval(annotation, self._globals, self._locals)
        except NameError as error:
            raise AnnotationError(
                f"the annotation {annotation} uses {error.name!r}, which does not exist at run time; import"
                " or define it at module level, outside of `if TYPE_CHECKING` and of the function itself"
            ) from None
        except Exception as error:
            raise AnnotationError(
                f"the annotation {annotation} cannot be evaluated: {type(error).__name__}: {error}"
            ) from None
        return self.resolve(hint) if isinstance(hint, str) else hint


def _defining_frames(module_globals: dict[str, Any]) -> list[FrameType]:
    """The frames that run the code around the definition, innermost first: names may still live there."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("tinynets.contract"):
        frame = frame.f_back
    while frame is not None and frame.f_globals is not module_globals:
        frame = frame.f_back  # such as Module.__init_subclass__
    found: list[FrameType] = []
    while frame is not None and frame.f_code.co_name != "<module>":
        found.append(frame)
        if "__qualname__" not in frame.f_locals:
            break  # a function; only a class body runs inside the frame of what encloses it
        frame = frame.f_back
    return found


def similar_name(name: str, others: set[str]) -> str | None:
    """Return the name in `others` that `name` is probably a misspelling of."""
    if len(name) < 4 or name in _AXIS_WORDS:
        return None
    allowed = 2 if len(name) >= 6 else 1
    for other in sorted(others - {name}):
        if len(other) < 4 or name.rstrip("0123456789") == other.rstrip("0123456789"):
            continue  # hidden1 and hidden2 are two names
        if _distance(name, other) <= (allowed if len(other) >= 5 else 1):
            return other
    return None


# Real words that are one or two letters from each other.
_AXIS_WORDS = frozenset(
    word
    for line in (
        "batch channels classes depth features frames groups head heads height hidden input inputs keys",
        "length levels output outputs patch patches queries query rows samples source sources space steps",
        "target targets time times token tokens values weight weights width",
    )
    for word in line.split()
)


def _distance(a: str, b: str) -> int:
    """Count insertions, deletions, substitutions and swaps of neighbours between two words."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def misspelt_axes(uses: Counter[str], module_axes: frozenset[str]) -> list[tuple[str, str]]:
    """Return pairs of an axis name that is used once and the name that was probably meant."""
    pairs: list[tuple[str, str]] = []
    for name, count in uses.items():
        if count == 1 and name not in module_axes:
            # Of two names that are used once each, the one that comes first is taken for the right one.
            others = {o for o, n in uses.items() if n > 1 or list(uses).index(o) < list(uses).index(name)}
            meant = similar_name(name.lstrip("*"), {o.lstrip("*") for o in others} | module_axes)
            if meant:
                pairs.append((name, meant))
    return pairs


def user_stacklevel() -> int:
    """Return the `stacklevel` at which a warning points at the first frame outside this package."""
    level = 1
    for frame in inspect.stack(0)[1:]:
        if not str(frame.frame.f_globals.get("__name__", "")).startswith("tinynets."):
            return level
        level += 1
    return level
