"""Write the part of a guard that compares `value.shape`: how `batch`, `#batch`, `*batch`, `2*hidden` and axes
of the class are compared and bound to local variables.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..annotations.axes import Axes, Axis, AxisKind, parse_expression, substitute

# Up to this many sizes are compared one by one, which is 7 to 32 ns faster; beyond, a tuple is faster.
_ONE_BY_ONE = 2


def axis_variable(key: str) -> str:
    """Return the local variable for the size of an axis."""
    return f"_tn_axes_{key[1:]}" if key.startswith("*") else f"_tn_axis_{key}"


@dataclass
class AxisScope:
    """The axes that are in scope at one place of a function."""

    module_axes: frozenset[str] = frozenset()  # attributes of the first argument
    self_name: str = "self"
    parameters: frozenset[str] = frozenset()  # the other arguments
    snapshots: dict[str, str] = field(default_factory=dict[str, str])  # argument -> variable, for `{n}`
    # Axis -> whether its variable has a size whenever this place is reached; if not, it may be None.
    states: dict[str, bool] = field(default_factory=dict[str, bool])
    uncertain: set[str] = field(default_factory=set[str])  # axes whose variable must start as None
    called: set[str] = field(default_factory=set[str])  # builtins that expressions call
    widened: set[str] = field(default_factory=set[str])  # `*name` that a `*#name` may have bound
    initial: dict[str, str] = field(default_factory=dict[str, str])  # axis -> its size at entry, or None

    def hold_self(self, source: str) -> None:
        """Read attributes of the first argument from a copy, since the body assigns its name."""
        self.self_name = self.snapshots[source] = "_tn_at_entry_self"

    def may_be_set(self, axes: Iterable[str]) -> None:
        """Begin with axes whose size is an attribute of the first argument, or None."""
        for name in sorted(axes):
            self.states[name] = False
            self.uncertain.add(name)
            self.initial[name] = f"{self.self_name}.{name}"

    def take_snapshots(self, axes: Iterable[Axis]) -> None:
        """Save arguments that axes such as `{width}` read, since the body may reassign them."""
        for axis in axes:
            if axis.kind is AxisKind.EXPRESSION:
                for name in parse_expression(axis.name).argument_names & self.parameters:
                    self.snapshots[name] = f"_tn_at_entry_{name}"

    def learn(self, keys: set[str], *, certain: bool) -> None:
        """Record that axes are bound from here on: on all paths if `certain`, else on some."""
        for key in sorted(keys - self.module_axes):
            self.states[key] = certain or self.states.get(key, False)
            if not self.states[key]:
                self.uncertain.add(key)


@dataclass
class ShapeGuard:
    """Expressions to join with `and`; bindings come last, so they run only if all tests pass."""

    tests: list[str] = field(default_factory=list[str])
    bindings: list[str] = field(default_factory=list[str])


def write_shape_guard(axes: Axes, value: str, scope: AxisScope, *, atomic: bool) -> ShapeGuard | None:
    """Return the guard for the shape of the variable `value`, or None where only validation can decide.

    An `atomic` one binds nothing unless all of it passes, and allows for names bound on some paths only.
    """
    return _Writer(axes, value, scope, atomic).write()


class _Writer:
    def __init__(self, axes: Axes, value: str, scope: AxisScope, atomic: bool) -> None:
        self.axes, self.value, self.scope, self.atomic = axes, value, scope, atomic
        self.many = axes.many_index
        self.test = ShapeGuard()
        self.before: list[str] = []  # tests that must pass before sizes are computed
        self.first: dict[str, str] = {}  # name -> the size where this annotation binds it
        self.broadcast: dict[str, list[str]] = {}  # name -> sizes that bind it unless they are 1
        self.new: dict[str, str] = {}  # variable that was not bound before -> its size

    def write(self) -> ShapeGuard | None:
        count = len(self.axes.axes)
        places = [i if self.many is None or i <= self.many else i - count for i in range(count)]
        for axis, place in zip(self.axes.axes, places, strict=True):
            if axis.kind is AxisKind.NAMED and not axis.broadcast:
                self.first.setdefault(axis.name, f"_tn_shape[{place}]")
        row: list[str] = []
        for axis, place in zip(self.axes.axes, places, strict=True):
            element = self._element(axis, place)
            if element is None:
                return None
            row.append(element)
        sizes = [f"_tn_shape[{place}]" for place in places]
        required = [
            f"{size} == {element}"
            for index, (size, element) in enumerate(zip(sizes, row, strict=True))
            if index != self.many and element != size
        ]
        at_once = self.many is None and len(required) > _ONE_BY_ONE
        for held, size in self.new.items():
            if at_once:
                row[row.index(size)] = f"({held} := {size})"
            else:
                self.test.bindings.append(f"({held} := {size}) is not None")
        # The number of axes is compared first, so that all sizes exist.
        compared = self._compare(row, required)
        self.test.tests[:0] = [*compared[:1], *self.before, *compared[1:]]
        return self.test

    def _element(self, axis: Axis, place: int) -> str | None:
        """Return the source of the size that one axis must equal: its own size if any size is accepted."""
        size = f"_tn_shape[{place}]"
        if axis.kind in (AxisKind.ANY, AxisKind.MANY_ANY):
            return size
        if axis.kind is AxisKind.MANY:
            return self._many(axis)
        wanted = self._wanted(axis, size)
        if wanted is not None:
            if not axis.broadcast:
                return wanted
            self.test.tests.append(f"({size} == 1 or {size} == {wanted})")
            return size
        if axis.kind is AxisKind.EXPRESSION:
            return None  # reads an axis that is not bound here
        return self._bind_broadcast(axis.key, size) if axis.broadcast else self._bind(axis.key, size)

    def _wanted(self, axis: Axis, size: str) -> str | None:
        """Return the source of the required size, or None if this axis binds it."""
        if axis.kind is AxisKind.FIXED:
            return str(axis.size)
        if axis.kind is AxisKind.EXPRESSION:
            return self._evaluated(axis)
        known = self._known(axis.name)
        if known is None and self.first.get(axis.name, size) != size:
            return self.first[axis.name]  # the name appears twice in this annotation
        return known

    def _known(self, name: str) -> str | None:
        if name in self.scope.module_axes:
            return f"{self.scope.self_name}.{name}"
        if self.scope.states.get(name):
            return axis_variable(name)
        return None

    def _evaluated(self, axis: Axis) -> str | None:
        expression = parse_expression(axis.name)
        sources = {name: self._readable(name) for name in expression.axis_names}
        sources |= {name: self.scope.snapshots.get(name, name) for name in expression.argument_names}
        if None in sources.values():
            return None
        sources |= {name: f"_tn_builtin_{name}" for name in expression.called_names}
        self.scope.called |= expression.called_names
        trees = {name: ast.parse(str(source), mode="eval").body for name, source in sources.items()}
        tree = substitute(expression.tree, trees)
        self.before += _preconditions(tree)
        return f"({ast.unparse(tree)})"

    def _readable(self, name: str) -> str | None:
        """Return the source of an axis that an expression reads, or None if the axis is not bound."""
        source = self._known(name) or self.first.get(name)
        if source is None and name in self.scope.states:
            source = axis_variable(name)
            self.before.append(f"{source} is not None")
        return source

    def _bind(self, key: str, size: str) -> str:
        held = axis_variable(key)
        if self.atomic or key in self.scope.states:
            self.test.tests.append(f"({held} is None or {held} == {size})")
            self.scope.uncertain.add(key)
            self.test.bindings.append(f"({held} := {size}) is not None")
        else:
            self.new[held] = size
        return size

    def _bind_broadcast(self, key: str, size: str) -> str:
        """Bind an axis unless its size is 1, which matches any size."""
        held = axis_variable(key)
        self.test.tests.append(f"({size} == 1 or {held} is None or {held} == {size})")
        others = self.broadcast.setdefault(key, [])
        self.test.tests += [f"({size} == 1 or {other} == 1 or {size} == {other})" for other in others]
        others.append(size)
        self.scope.uncertain.add(key)
        self.test.bindings.append(f"({size} == 1 or ({held} := {size}) is not None)")
        return size

    def _many(self, axis: Axis) -> str:
        assert self.many is not None
        after = len(self.axes.axes) - self.many - 1
        span, held = f"_tn_shape[{self.many}:{-after if after else ''}]", axis_variable(axis.key)
        bound = self.scope.states.get(axis.key)
        if axis.broadcast or axis.key in self.scope.widened:
            if axis.broadcast:
                self.scope.widened.add(axis.key)
                if not self.atomic and axis.key not in self.scope.states:
                    self.new[held] = f"(True, {span})"
                    return span
            if not bound:
                self.scope.uncertain.add(axis.key)
            widened = f"_tn_widen({held}, {span}, {axis.broadcast})"
            if axis.broadcast:  # mostly, the sizes are equal
                widened = f"{held} if {held} == (True, {span}) else {widened}"
            self.test.tests.append(f"(_tn_span := {widened}) is not None")
            self.test.bindings.append(f"({held} := _tn_span) is not None")
            return span
        if bound:
            self.test.tests.append(f"{span} == {held}")
            return span
        return self._bind(axis.key, span)

    def _compare(self, row: list[str], required: list[str]) -> list[str]:
        """Compare few sizes one by one, or many at once if no axis is variadic."""
        shape, count = f"{self.value}.shape", len(row)
        used = bool(self.test.tests or self.test.bindings or self.before)
        if self.many is not None:
            return [f"len(_tn_shape := {shape}) >= {count - 1}", *required] if used or count > 1 else []
        equal = f"({''.join(element + ', ' for element in row)})"
        reads = [element for element in row if "_tn_shape[" in element]
        if not reads and not used:
            return [f"{shape} == {equal}"]
        if len(required) <= _ONE_BY_ONE:
            return [f"len(_tn_shape := {shape}) == {count}", *required]
        only_first = all("_tn_shape[0]" in element for element in reads)
        if reads and only_first and not self.test.tests and not self.before:
            # An empty shape is false, so [0] is safe.
            return [f"(_tn_shape := {shape})", f"_tn_shape == {equal}"]
        return [f"len(_tn_shape := {shape}) == {count}", f"_tn_shape == {equal}"]


def _preconditions(tree: ast.expr) -> list[str]:
    """Return the tests that keep an expression from dividing by zero, inner operations first."""
    tests: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.BinOp) or (isinstance(node.right, ast.Constant) and node.right.value):
            continue
        if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
            tests.append(f"({ast.unparse(node.right)}) != 0")
        elif isinstance(node.op, ast.Pow):
            tests.append(f"({ast.unparse(node.right)}) >= 0")
    return tests[::-1]
