"""Parse jaxtyping's axis language into axes: `3`, `rows=3`, `batch`, `_`, `#batch`, `*batch`, `...`, and
expressions such as `2*hidden` and `{self.width}`; `?` is refused.

jaxtyping rejects malformed strings when the annotation is created, so this parser only has to agree with it
on well-formed ones. A property test compares the two.
"""

from __future__ import annotations

import ast
import builtins
import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

from ...errors import UnsupportedAxesError


class AxisKind(Enum):
    """What one token of an axis string requires."""

    ANY = auto()  # `_`, `_name`: one axis of any size
    FIXED = auto()  # `3`, `rows=3`
    NAMED = auto()  # `batch`: one size throughout the call
    EXPRESSION = auto()  # `2*hidden`, `{self.width}+1`: computed from other axes and attributes
    MANY = auto()  # `*shape`: any number of axes, the same ones throughout the call
    MANY_ANY = auto()  # `...`, `*_`: any number of axes of any size


@dataclass(frozen=True)
class Axis:
    """One token of an axis string."""

    kind: AxisKind
    text: str  # as written, for messages
    name: str = ""  # NAMED, MANY: the name; EXPRESSION: the expression
    size: int = 0  # FIXED
    broadcast: bool = False  # `#`: a size of 1 is accepted as well

    @property
    def key(self) -> str:
        """The name under which a size is bound: `*batch` and `batch` are different axes."""
        return f"*{self.name}" if self.kind is AxisKind.MANY else self.name

    @property
    def is_named(self) -> bool:
        """Whether it binds a size to its name, or compares it with the one that is bound."""
        return self.kind in (AxisKind.NAMED, AxisKind.MANY)

    @property
    def reads(self) -> frozenset[str]:
        """The names of the axes that it is computed from."""
        expression = self.kind is AxisKind.EXPRESSION
        return parse_expression(self.name).axis_names if expression else frozenset[str]()


@dataclass(frozen=True)
class Axes:
    """A parsed axis string."""

    text: str
    axes: tuple[Axis, ...]

    @property
    def many_index(self) -> int | None:
        """Index of the one token that may match several axes, or None."""
        several = (AxisKind.MANY, AxisKind.MANY_ANY)
        return next((index for index, axis in enumerate(self.axes) if axis.kind in several), None)

    @property
    def names(self) -> list[str]:
        """Axis names that are bound or compared, one for each occurrence."""
        return [axis.name for axis in self.axes if axis.is_named]


@lru_cache(maxsize=4096)
def parse_axis_string(text: str) -> Axes:
    """Parse the axis string of a jaxtyping annotation."""
    return Axes(text, tuple(_parse_token(token) for token in text.split()))


def _parse_token(token: str) -> Axis:
    if token == "...":
        return Axis(AxisKind.MANY_ANY, token)
    rest, marks = token, set[str]()
    while rest:
        if rest[0] in "#*_?":
            marks.add(rest[0])
            rest = rest[1:]
        elif rest.count("=") == 1:
            rest = rest.split("=")[1]  # `rows=3` is `3` with a name for the reader
        else:
            break
    if "?" in marks:
        raise UnsupportedAxesError(
            f"axis {token!r}: '?' is for the leaves of a PyTree; name the axis instead"
        )
    broadcast = "#" in marks
    if rest and not rest.isidentifier():
        try:
            return Axis(AxisKind.FIXED, token, size=int(rest), broadcast=broadcast)
        except ValueError:
            return Axis(AxisKind.EXPRESSION, token, name=rest, broadcast=broadcast)
    if "_" in marks or not rest:
        return Axis(AxisKind.MANY_ANY if "*" in marks else AxisKind.ANY, token, name=rest)
    return Axis(AxisKind.MANY if "*" in marks else AxisKind.NAMED, token, name=rest, broadcast=broadcast)


@dataclass(frozen=True)
class Expression:
    """A parsed axis expression and the names it reads: axes, and arguments inside `{...}`.

    A name such as `max` is the builtin where it is called (`max(a, 2)`), and an axis elsewhere.
    """

    tree: ast.expr
    axis_names: frozenset[str]
    argument_names: frozenset[str]
    called_names: frozenset[str]


_BRACES = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDER = "_tn_brace_{}"


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Parse `2*hidden` or `{self.width}//2` into a syntax tree over axis names and arguments.

    jaxtyping formats the braces first and evaluates the resulting text. Inserting each value as a
    parenthesised operand yields the same number for every int, or a syntax error where it would not.
    """
    braces: list[ast.expr] = []

    def hold_place(match: re.Match[str]) -> str:
        braces.append(ast.parse(match[1].strip(), mode="eval").body)
        return f"({_PLACEHOLDER.format(len(braces) - 1)})"

    try:
        tree = ast.parse(_BRACES.sub(hold_place, text), mode="eval").body
    except SyntaxError as error:
        raise UnsupportedAxesError(f"axis {text!r} is not an expression that can be evaluated") from error
    placeholders = {_PLACEHOLDER.format(index): brace for index, brace in enumerate(braces)}
    called = _called_builtins(tree).union(*map(_called_builtins, braces))
    arguments = {name for brace in braces for name in _names(brace)}
    return Expression(
        substitute(tree, placeholders),
        frozenset(_names(tree) - set(placeholders) - called),
        frozenset(arguments - called),
        frozenset(called),
    )


def _names(tree: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _called_builtins(tree: ast.expr) -> set[str]:
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return {name for name in called if hasattr(builtins, name)}


class _Substitute(ast.NodeTransformer):
    def __init__(self, replacements: dict[str, ast.expr]) -> None:
        self.replacements = replacements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.replacements.get(node.id, node)


def substitute(tree: ast.expr, replacements: dict[str, ast.expr]) -> ast.expr:
    """Return a copy of `tree` with each name in `replacements` replaced."""
    copy = ast.parse(ast.unparse(tree), mode="eval").body
    return _Substitute(replacements).visit(copy)
