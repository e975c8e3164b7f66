"""Follow local names through a body: which declarations stay in force where paths meet (`if`, loops, `try`,
`match`), and which statements assign a name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..annotations.specs import Spec
from .syntax import FunctionNode, assigned_names, own_expressions


@dataclass
class Names:
    """The local names at one place of a body."""

    declared: dict[str, Spec] = field(default_factory=dict[str, Spec])
    # Name -> whether on every path, unless it is deleted again.
    assigned: dict[str, bool] = field(default_factory=dict[str, bool])

    def copy(self) -> Names:
        """Return a copy for another path."""
        return Names(dict(self.declared), dict(self.assigned))

    def replace_by(self, other: Names) -> None:
        """Continue where another path ends."""
        self.declared, self.assigned = dict(other.declared), dict(other.assigned)

    def assign(self, names: list[str], *, always: bool = True) -> None:
        """Record that names are assigned here: on every path to this place if `always`."""
        for name in names:
            self.assigned[name] = always or self.assigned.get(name, False)


def join(paths: list[Names]) -> Names:
    """Return the names where paths meet; a declaration is kept if all of them have it."""
    first, *others = paths
    agreed = {n: spec for n, spec in first.declared.items() if all(o.declared.get(n) == spec for o in others)}
    names = (name for path in paths for name in path.assigned)
    return Names(agreed, {name: all(path.assigned.get(name, False) for path in paths) for name in names})


def interrupted(start: Names, end: Names) -> Names:
    """Return the names after a block that may stop anywhere: less is assigned, what it declares holds."""
    assigned = {name: start.assigned.get(name, False) for name in {**start.assigned, **end.assigned}}
    return Names(dict(end.declared), assigned)


def at_handler(start: Names, end: Names) -> Names:
    """Return the names where a handler of a `try` begins: a declaration that the body replaces is dropped."""
    declared = {**end.declared, **start.declared}
    agreed = {name: spec for name, spec in declared.items() if end.declared.get(name, spec) == spec}
    return Names(agreed, interrupted(start, end).assigned)


def leaves(block: list[ast.stmt]) -> bool:
    """Whether a block ends by leaving the function, so that nothing after it is reached."""
    return bool(block) and isinstance(block[-1], ast.Return | ast.Raise)


def captured_names(pattern: ast.pattern) -> list[str]:
    """Return the names that a pattern of a `case` binds."""
    names = [getattr(node, "name", None) or getattr(node, "rest", None) for node in ast.walk(pattern)]
    return [name for name in names if name]


def is_irrefutable(case: ast.match_case) -> bool:
    """Whether a case matches any value."""
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def bound_names(statement: ast.stmt) -> dict[str, ast.AST]:
    """Return the names that a statement itself binds, with the node to report for each."""
    match statement:
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return {alias.asname or alias.name.partition(".")[0]: statement for alias in aliases}
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name: statement}
        case _:
            return {name: place for target, place in _targets(statement) for name in assigned_names(target)}


def changed_containers(statement: ast.stmt) -> dict[str, ast.AST]:
    """Return the names whose items a statement assigns: `parts` for `parts[0] = x`."""
    return {
        node.value.id: place
        for target, place in _targets(statement)
        for node in ast.walk(target)
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
    }


def _targets(statement: ast.stmt) -> Iterator[tuple[ast.expr, ast.AST]]:
    match statement:
        case ast.Assign(targets=targets):
            yield from ((target, statement) for target in targets)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            yield target, statement
        case ast.For(target=target) | ast.AsyncFor(target=target):
            yield target, target
        case ast.With(items=items) | ast.AsyncWith(items=items):
            yield from ((item.optional_vars, item.optional_vars) for item in items if item.optional_vars)
        case _:
            return


def deleted_names(function: FunctionNode) -> set[str]:
    """Return the names that have no value at some place: after `del`, or an `except ... as name`."""
    nodes = list(ast.walk(function))
    deleted = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del)}
    return deleted | {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}


def walrus_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that `:=` binds in the expressions of a statement."""
    for node in own_expressions(statement):
        if isinstance(node, ast.NamedExpr):
            yield node.target.id
