"""Evaluate annotations, quoted ones too, with the names in scope where a function or class is defined; the
error for a name that does not exist at run time, and the line that a warning points at.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
import types
import typing
from types import FrameType, FunctionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast

from jaxtyping import AnnotationError

from .later_names import stand_in


class NameResolver:
    """Evaluates annotations in the scope of a definition.

    Args:
        module_globals: globals of the module with the definition.
        function: the function, for the names in its closure.
        owner: the class that is being created, whose name does not exist yet.
        at_definition: whether the code around the definition is running, and its variables are in scope.
    """

    def __init__(
        self,
        module_globals: dict[str, Any],
        function: FunctionType | None = None,
        owner: type | None = None,
        *,
        at_definition: bool = True,
    ) -> None:
        self._globals = module_globals
        self._locals: dict[str, Any] = {}
        self._resolved: dict[str, Any] = {}
        self._filename = function.__code__.co_filename if function else str(module_globals.get("__file__"))
        for frame in _defining_frames(module_globals) if at_definition else ():
            self._locals = {**frame.f_locals, **self._locals}
        cells = (function.__closure__ or ()) if function else ()
        for name, cell in zip(function.__code__.co_freevars if function else (), cells, strict=True):
            with contextlib.suppress(ValueError):  # an empty cell, as for the class being created
                self._locals[name] = cell.cell_contents
        for scope in (owner, function):
            variables: tuple[Any, ...] = getattr(scope, "__type_params__", ())  # Python 3.12
            self._locals |= {variable.__name__: variable for variable in variables}
        if owner is not None:
            self._locals[owner.__name__] = owner

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
            return self._resolve_inside(annotation)
        if annotation not in self._resolved:
            self._resolved[annotation] = self._evaluate(annotation)
        return self._resolved[annotation]

    def release_scope(self) -> None:
        """Drop the variables of the scope; annotations that are already resolved stay available."""
        self._globals, self._locals = {}, {}

    def _evaluate(self, annotation: str) -> Any:
        # `*args: *tuple[A, B]` is not an expression by itself.
        text = f"({annotation},)[0]" if annotation.lstrip().startswith("*") else annotation
        if "|" in text and ("'" in text or '"' in text):
            text = _without_quotes(text)
        names = dict(self._locals)
        while True:
            try:
                return self.resolve(eval(text, self._globals, names))
            except NameError as error:
                name = str(error.name)
                found = stand_in(name, self._filename, self._globals)
                if found is None or name in names:
                    raise AnnotationError(
                        f"the annotation {annotation} uses {name!r}, which does not exist at run time;"
                        " import or define it at module level, outside of `if TYPE_CHECKING` and of the"
                        " function itself"
                    ) from None
                names[name] = found
            except AnnotationError:
                raise
            except Exception as error:
                raise AnnotationError(
                    f"the annotation {annotation} cannot be evaluated: {type(error).__name__}: {error}"
                ) from None

    def _resolve_inside(self, hint: Any) -> Any:
        """Resolve the parts of a hint that are quoted: `list["Float[Tensor, 'n']"]`."""
        if isinstance(hint, typing.ForwardRef):
            return self.resolve(hint.__forward_arg__)
        if isinstance(hint, TypeVar) and isinstance(hint.__bound__, typing.ForwardRef):
            return self.resolve(hint.__bound__)
        alias: Any = hint.__value__ if type(hint).__name__ == "TypeAliasType" else None  # pyright: ignore
        if isinstance(alias, str):
            return self.resolve(alias)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is None or origin is Literal:
            return hint
        if origin is Annotated:
            inner = self._resolve_inside(arguments[0])
            return hint if inner is arguments[0] else Annotated[(inner, *arguments[1:])]  # pyright: ignore
        new: list[Any] = []
        for argument in arguments:
            if isinstance(argument, list):  # the arguments of a Callable
                new.append([self.resolve(part) for part in cast("list[Any]", argument)])
            else:
                new.append(argument if argument is Ellipsis else self.resolve(argument))
        if all(a is b or a == b for a, b in zip(new, arguments, strict=True)):
            return hint
        if origin is Union or origin is types.UnionType:
            return Union[tuple(new)]  # noqa: UP007
        rebuilt: Any = origin[new[0] if len(new) == 1 else tuple(new)]
        return next(iter(rebuilt)) if getattr(hint, "__unpacked__", False) else rebuilt


def _without_quotes(annotation: str) -> str:
    """Remove the quotes around operands of `|`, which strings do not support."""
    try:
        tree = ast.parse(annotation, mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
                for side in ("left", "right"):
                    operand = getattr(node, side)
                    if isinstance(operand, ast.Constant) and isinstance(operand.value, str):
                        setattr(node, side, ast.parse(operand.value, mode="eval").body)
        return ast.unparse(tree)
    except SyntaxError:
        return annotation


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
            break  # a function: only the caller of a class body is the scope around it
        frame = frame.f_back
    return found


def user_stacklevel() -> int:
    """Return the `stacklevel` at which a warning points at the first frame outside this package."""
    modules = [str(info.frame.f_globals.get("__name__", "")) for info in inspect.stack(0)[1:]]
    return next((level for level, name in enumerate(modules, 1) if not name.startswith("tinynets.")), 1)
