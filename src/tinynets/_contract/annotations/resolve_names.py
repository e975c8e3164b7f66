"""Evaluate annotations with the names in scope where a function or class is defined."""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
from types import FrameType, FunctionType
from typing import Any

from jaxtyping import AnnotationError


class NameResolver:
    """Evaluates annotations in the scope of a definition.

    Args:
        module_globals: globals of the module with the definition.
        function: the function, for the names in its closure.
    """

    def __init__(self, module_globals: dict[str, Any], function: FunctionType | None = None) -> None:
        self._globals = module_globals
        self._locals: dict[str, Any] = {}
        self._resolved: dict[str, Any] = {}
        for frame in _defining_frames(module_globals):
            self._locals = {**frame.f_locals, **self._locals}
        cells = (function.__closure__ or ()) if function else ()
        for name, cell in zip(function.__code__.co_freevars if function else (), cells, strict=True):
            with contextlib.suppress(ValueError):  # still empty, such as that of the class being created
                self._locals[name] = cell.cell_contents

    def resolve(self, annotation: Any) -> Any:
        """Turn an annotation (an object, a string, or a syntax tree) into a type hint.

        Raises:
            AnnotationError: it uses a name that does not exist at run time.
        """
        if isinstance(annotation, ast.Constant):
            annotation = annotation.value
        if isinstance(annotation, ast.expr):
            annotation = ast.unparse(annotation)
        if not isinstance(annotation, str):
            return annotation
        if annotation not in self._resolved:
            self._resolved[annotation] = self._evaluate(annotation)
        return self._resolved[annotation]

    def release_scope(self) -> None:
        """Drop the variables of the scope; what has been resolved can still be resolved again."""
        self._globals, self._locals = {}, {}

    def _evaluate(self, annotation: str) -> Any:
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
    """Return the frames that run the code around the definition, innermost first."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("tinynets._contract"):
        frame = frame.f_back
    while frame is not None and frame.f_globals is not module_globals:
        frame = frame.f_back  # such as Module.__init_subclass__
    found: list[FrameType] = []
    while frame is not None and frame.f_code.co_name != "<module>":
        found.append(frame)
        if "__qualname__" not in frame.f_locals:
            break  # a function; only a class body runs while the frame around it is still active
        frame = frame.f_back
    return found


def user_stacklevel() -> int:
    """Return the `stacklevel` at which a warning points at the first frame outside this package."""
    level = 1
    for frame in inspect.stack(0)[1:]:
        if not str(frame.frame.f_globals.get("__name__", "")).startswith("tinynets."):
            return level
        level += 1
    return level
