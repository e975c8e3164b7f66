"""Rewrite the body of a function: which statements get a check next to them (annotated lines, a bare `left:
Float[...]`, later assignments to a declared name, `for`, `with`, `match`, `except`).

Inserted statements have the position of the user's line, so tracebacks, coverage and debuggers show the
user's file.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from jaxtyping import AnnotationError

from ..annotations.parse_hints import parse_hint
from ..annotations.policy import Policy
from ..annotations.specs import Anything, Spec, unchecked_hints
from .checks import CheckWriter, framed, item_spec
from .guard_code import GuardWriter
from .local_names import (
    Names,
    at_handler,
    bound_names,
    captured_names,
    changed_containers,
    deleted_names,
    interrupted,
    is_irrefutable,
    join,
    leaves,
    walrus_names,
)
from .shape_code import axis_variable
from .syntax import FunctionNode, find_parameter, located, parameters_of, split_docstring
from .unsupported import hidden_assignment, reject_unchecked_inner


@dataclass(eq=False, repr=False)
class Rewriter:
    """Rewrites one function definition."""

    node: FunctionNode
    arguments: dict[str, Spec]  # in the order in which to check them
    returns: Spec
    yields: Spec  # of the values that a generator yields
    resolve: Callable[[ast.expr], Any]  # turns an annotation into a hint; raises AnnotationError
    is_contract: Callable[[ast.expr], bool]  # whether a decorator is `contract`
    writer: GuardWriter
    title: str  # names the function in errors when it is defined
    policy: Policy
    has_walrus: bool  # whether the body may contain `:=`

    def __post_init__(self) -> None:
        self.scope = self.writer.scope
        self.checks = CheckWriter(self.writer, self.returns, self.yields)
        self.unchecked: list[tuple[str, Any]] = []  # name and hint
        self.hoisted: list[ast.stmt] = []
        self.annotated: dict[ast.stmt | None, tuple[str, Spec]] = {}  # lines with a value
        line, column = self.node.lineno, self.node.col_offset
        self.top = ast.Pass(
            lineno=line, end_lineno=line, col_offset=column, end_col_offset=column + len("def")
        )

    def rewrite(self, entry: list[str]) -> FunctionNode:
        """Return the definition with its checks; the lines of `entry` say at each call how these run."""
        documentation, statements = split_docstring(self.node.body)
        checks: list[ast.stmt] = []
        for name, spec in self.arguments.items():
            place = find_parameter(self.node, name)
            checks += self.checks.argument(name, spec, place)
        names = Names(assigned=dict.fromkeys(parameters_of(self.node), True))
        body = checks + self._block(statements, names, certain=True)
        if not isinstance(self.node.body[-1], ast.Return | ast.Raise):
            body += self.checks.returning(ast.copy_location(ast.Return(value=None), self.node.body[-1]), None)
        initial = self.scope.initial
        unsure = [f"{axis_variable(name)} = {initial.get(name)}" for name in sorted(self.scope.uncertain)]
        at_entry = [f"{held} = {name}" for name, held in self.scope.snapshots.items()]
        head = located(at_entry + unsure, self.top)
        main = framed(body, entry, self.top, self.writer, notes=self.policy.strict)
        rewritten = copy.copy(self.node)
        rewritten.decorator_list = []  # they are already applied
        rewritten.body = [*documentation, *self.hoisted, *head, *main]
        return rewritten

    # Statements

    def _block(self, statements: list[ast.stmt], names: Names, *, certain: bool = False) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        previous: ast.stmt | None = None
        for statement in statements:
            result += self._statement(statement, names, previous, certain)
            previous = statement
        return result or [self.top]

    def _statement(
        self, statement: ast.stmt, names: Names, previous: ast.stmt | None, certain: bool
    ) -> list[ast.stmt]:
        yields_tensors = not isinstance(self.checks.yields, Anything)
        if yields_tensors or (self.has_walrus and names.declared):
            hidden = hidden_assignment(statement, names.declared, yields_tensors=yields_tensors)
            if hidden:
                self._refuse(*hidden)
                self.checks.yields = Anything()
        if self.has_walrus:
            names.assign(list(walrus_names(statement)), always=False)
        match statement:
            case ast.Global() | ast.Nonlocal():
                self.hoisted.append(statement)
                return []
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                if self.policy.strict:
                    reject_unchecked_inner(self.title, statement, self.resolve, self.is_contract)
                return [statement, *self._bound(statement, names, certain)]
            case ast.AnnAssign(value=None):
                return self._bare(statement, names, certain)
            case ast.AnnAssign(target=ast.Name(id=name)):
                spec = self._declared(statement, name, names)
                self.annotated[statement] = name, spec
                names.assign([name])
                check = self.checks.local(name, spec, statement, certain=certain)
                return [*self.checks.yielding(statement), *check]
            case ast.AnnAssign(target=target):
                lines = self.checks.store(statement, target, self._spec(statement), certain=certain)
                return [*lines, *self._bound(statement, names, certain)]
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name)) as target]) if (
                name in names.declared
            ):
                item = item_spec(names.declared[name], target.slice)
                if item is not None:
                    return self.checks.store(statement, target, item, certain=certain)
                return [*self.checks.yielding(statement), *self._bound(statement, names, certain)]
            case ast.Assign() | ast.AugAssign():
                return [*self.checks.yielding(statement), *self._bound(statement, names, certain)]
            case ast.Import() | ast.ImportFrom():
                return [statement, *self._bound(statement, names, certain)]
            case ast.Return():
                return self.checks.returning(statement, self.annotated.get(previous))
            case ast.Expr(value=ast.Yield()):
                return self.checks.yielding(statement)
            case ast.If() | ast.While() | ast.For() | ast.AsyncFor() | ast.With() | ast.AsyncWith():
                return [self._compound(statement, names)]
            case ast.Match():
                return [self._match(statement, names)]
            case ast.Try() | ast.TryStar():
                return [self._try(statement, names)]
            case _:
                return [statement]

    def _compound(
        self,
        statement: ast.If | ast.While | ast.For | ast.AsyncFor | ast.With | ast.AsyncWith,
        names: Names,
    ) -> ast.stmt:
        statement = copy.copy(statement)
        inner, other = names.copy(), names.copy()
        first = self._bound(statement, inner, certain=False)
        body, orelse = statement.body, getattr(statement, "orelse", [])
        statement.body = [*first, *self._block(body, inner)]
        if isinstance(statement, ast.With | ast.AsyncWith):
            names.replace_by(interrupted(names, inner))  # its context manager may suppress an exception
            return statement
        if not isinstance(statement, ast.If) and not leaves(body):
            other = join([other, inner])  # the loop may run any number of times, or not at all
        if orelse:
            setattr(statement, "orelse", self._block(orelse, other))  # noqa: B010
        ends = [end for end, block in ((inner, body), (other, orelse)) if not leaves(block)]
        names.replace_by(join(ends or [other]))
        return statement

    def _match(self, statement: ast.Match, names: Names) -> ast.stmt:
        statement, ends = copy.copy(statement), [names.copy()]
        cases: list[ast.match_case] = []
        for case in statement.cases:
            inner, captured = names.copy(), captured_names(case.pattern)
            declared = [name for name in captured if name in names.declared]
            if case.guard and declared:
                reason = (
                    f"{declared[0]} is declared and bound by a pattern with an `if`; use another name there"
                )
                self._refuse(case.pattern, reason)
            inner.assign(captured)
            first = self._check_declared(dict.fromkeys(captured, case.pattern), inner)
            cases.append(ast.match_case(case.pattern, case.guard, [*first, *self._block(case.body, inner)]))
            if not leaves(case.body):
                ends.append(inner)
        if is_irrefutable(statement.cases[-1]):
            ends = ends[1:] or ends
        statement.cases = cases
        names.replace_by(join(ends))
        return statement

    def _try(self, statement: ast.Try | ast.TryStar, names: Names) -> ast.stmt:
        statement, inner = copy.copy(statement), names.copy()
        ends: list[Names] = []
        body, orelse = statement.body, statement.orelse
        statement.body = self._block(body, inner)
        stopped = at_handler(names, inner)
        statement.orelse = self._block(orelse, inner) if orelse else []
        if not leaves(orelse or body):
            ends.append(inner)
        handlers: list[ast.ExceptHandler] = []
        for handler in statement.handlers:
            handled, bound = stopped.copy(), [handler.name] if handler.name else []
            handled.assign(bound)
            first = self._check_declared(dict.fromkeys(bound, handler), handled)
            new = copy.copy(handler)
            new.body = [*first, *self._block(handler.body, handled)]
            handlers.append(new)
            if not leaves(handler.body):
                ends.append(handled)
        statement.handlers = handlers
        after = join(ends or [stopped])
        if statement.finalbody:
            last = interrupted(names, after)
            statement.finalbody = self._block(statement.finalbody, last)
            after.declared = last.declared
            after.assign([name for name, always in last.assigned.items() if always])
        names.replace_by(after)
        return statement

    def _bare(self, statement: ast.AnnAssign, names: Names, certain: bool) -> list[ast.stmt]:
        """Check a name that already has a value against an annotation without one."""
        target = statement.target
        if not isinstance(target, ast.Name):
            self._spec(statement)
            return [statement]
        spec = self._declared(statement, target.id, names)
        if target.id not in names.assigned:
            return [statement]
        if names.assigned[target.id] and target.id not in self._deleted:
            return [statement, *self.checks.local(target.id, spec, statement, certain=certain)]
        lines = self.checks.local(target.id, spec, statement, certain=False)
        if not lines:
            return [statement]
        attempt = ["try:", f"    {target.id}", "except NameError:", "    pass", "else:", "    pass"]
        test = cast("ast.Try", located(attempt, statement)[0])
        test.orelse = lines
        return [statement, test]

    @cached_property
    def _deleted(self) -> set[str]:
        return deleted_names(self.node)

    def _bound(self, statement: ast.stmt, names: Names, certain: bool) -> list[ast.stmt]:
        """Check the declared names that a statement binds, and the declared containers that it changes."""
        bound = bound_names(statement)
        names.assign(list(bound))
        return self._check_declared({**changed_containers(statement), **bound}, names, certain)

    def _check_declared(
        self, bound: Mapping[str, ast.AST], names: Names, certain: bool = False
    ) -> list[ast.stmt]:
        return [
            line
            for name, place in bound.items()
            if name in names.declared
            for line in self.checks.local(name, names.declared[name], place, certain=certain)
        ]

    def _declared(self, statement: ast.AnnAssign, name: str, names: Names) -> Spec:
        """Return the spec of a line, and keep it for later assignments to the name."""
        spec = self._spec(statement)
        if self.policy.strict:
            names.declared[name] = spec
        return spec

    def _spec(self, statement: ast.AnnAssign) -> Spec:
        name = ast.unparse(statement.target)
        try:
            spec = parse_hint(self.resolve(statement.annotation))
        except AnnotationError as error:
            self._refuse(statement.annotation, str(error), name)
            return Anything()
        spec = self.policy.adapt(spec, self.title, name, statement.lineno)
        self.unchecked += [(name, hint) for hint in unchecked_hints(spec)]
        return spec

    def _refuse(self, node: ast.AST, reason: str, where: str = "yield") -> None:
        self.policy.refuse(self.title, where, getattr(node, "lineno", 0), reason)
