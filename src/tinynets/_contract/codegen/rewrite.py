"""Rewrite the body of a function: each check goes next to the line that it checks.

Inserted statements have the position of the user's line, so tracebacks, coverage and debuggers show the
user's own file.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import Any, cast

from jaxtyping import AnnotationError

from ..annotations.parse_hints import parse_hint
from ..annotations.sites import Site
from ..annotations.specs import Anything, Spec, axis_tokens, unchecked_hints
from .guard_code import GuardWriter, axis_keys
from .shape_code import axis_variable
from .source import FunctionNode
from .syntax import assigned_names, indented, located, split_docstring
from .unsupported import raise_unsupported, reject_hidden_assignments, reject_unchecked_inner

Declared = dict[str, Spec]


class Rewriter:
    """Rewrites one function definition.

    Args:
        node: the definition.
        arguments: argument name -> spec, in the order in which to check them.
        returns: spec of the return value.
        yields: spec of the values that a generator yields.
        resolve: turns the expression of an annotation into a hint; raises AnnotationError.
        is_contract: whether a decorator is `contract`.
        writer: writes the guards.
        title: names the function in errors when it is defined.
        has_walrus: whether the body may contain `:=`.
    """

    def __init__(
        self,
        node: FunctionNode,
        *,
        arguments: dict[str, Spec],
        returns: Spec,
        yields: Spec,
        resolve: Callable[[ast.expr], Any],
        is_contract: Callable[[ast.expr], bool],
        writer: GuardWriter,
        title: str,
        has_walrus: bool,
    ) -> None:
        self.node, self.arguments, self.returns, self.yields = node, arguments, returns, yields
        self.resolve, self.is_contract, self.writer, self.title = resolve, is_contract, writer, title
        self.has_walrus = has_walrus
        self.sites: list[Site] = []
        self.unchecked: list[tuple[str, Any]] = []  # name and hint
        self.hoisted: list[ast.stmt] = []
        line = {"lineno": node.lineno, "end_lineno": node.lineno, "col_offset": node.col_offset}
        self.top = ast.Pass(**line, end_col_offset=node.col_offset + len("def"))

    def rewrite(self, entry: list[str]) -> FunctionNode:
        """Return the definition with its checks.

        Args:
            entry: source lines that run on each call and set `_tn_checks`: how the checks of this call run.
        """
        documentation, statements = split_docstring(self.node.body)
        checks: list[ast.stmt] = []
        for name, spec in self.arguments.items():
            place = self._argument_node(name)
            checks += self._check(self._site("argument", place.arg, spec, place), name, place, certain=True)
        body = checks + self._block(statements, {}, certain=True)
        if not isinstance(self.node.body[-1], ast.Return | ast.Raise):
            body += self._return(ast.copy_location(ast.Return(value=None), self.node.body[-1]), None)
        # Dynamo compiles nothing of a function whose graph breaks inside a `try`, so the body stands twice.
        frame = [
            "if _tn_compiling():",
            "    _tn_checks = _tn_toggle.on",
            "    _tn_body",
            "else:",
            *indented(entry),
            "    try:",
            "        _tn_body",
            "    except Exception as _tn_error:",
            "        _tn_contract.note(_tn_error, locals())",
            "        raise",
        ]
        initial = self.writer.scope.initial
        unsure = [
            f"{axis_variable(name)} = {initial.get(name)}" for name in sorted(self.writer.scope.uncertain)
        ]
        at_entry = [f"{held} = {name}" for name, held in self.writer.scope.snapshots.items()]
        head = located(at_entry + unsure, self.top)
        main = cast("ast.If", located(frame, self.top)[0])
        main.body[1:] = body
        cast("ast.Try", main.orelse[-1]).body = body  # the same nodes: compiling does not change them
        rewritten = copy.copy(self.node)
        rewritten.decorator_list = []  # they are around the function already
        rewritten.body = [*documentation, *self.hoisted, *head, main]
        return rewritten

    # Statements

    def _block(
        self, statements: list[ast.stmt], declared: Declared, *, certain: bool = False
    ) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        previous: ast.stmt | None = None
        for statement in statements:
            result += self._statement(statement, declared, previous, certain)
            previous = statement
        return result or [self.top]

    def _statement(
        self, statement: ast.stmt, declared: Declared, previous: ast.stmt | None, certain: bool
    ) -> list[ast.stmt]:
        yields_tensors = not isinstance(self.yields, Anything)
        if yields_tensors or (self.has_walrus and declared):
            reject_hidden_assignments(self.title, statement, declared, yields_tensors=yields_tensors)
        match statement:
            case ast.Global() | ast.Nonlocal():
                self.hoisted.append(statement)
                return []
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                reject_unchecked_inner(self.title, statement, self.resolve, self.is_contract)
                return [statement]
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                name = ast.unparse(target)
                spec = self._spec(annotation)
                self.unchecked += [(name, hint) for hint in unchecked_hints(spec)]
                if isinstance(target, ast.Name):
                    declared[name] = spec
                if value is None:
                    return [statement]
                return [*self._yielding(statement), *self._check_target(target, spec, statement, certain)]
            case ast.Assign() | ast.AugAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names = [name for target in targets for name in assigned_names(target) if name in declared]
                checks = [
                    self._check_local(name, declared[name], statement, certain=certain) for name in names
                ]
                return [*self._yielding(statement), *(line for lines in checks for line in lines)]
            case ast.Return():
                return self._return(statement, self._just_checked(previous, declared))
            case ast.Expr(value=ast.Yield()):
                return self._yielding(statement)
            case _:
                return [self._compound(statement, declared)]

    def _compound(self, statement: ast.stmt, declared: Declared) -> ast.stmt:
        """Rewrite the blocks inside a statement; a declaration outlives it if all its paths agree."""
        statement = copy.copy(statement)
        outer = dict(declared)
        targets: list[ast.expr] = []
        if isinstance(statement, ast.For | ast.AsyncFor):
            targets = [statement.target]
        elif isinstance(statement, ast.With | ast.AsyncWith):
            targets = [item.optional_vars for item in statement.items if item.optional_vars]
        first = [
            line
            for target in targets
            for name in assigned_names(target)
            if name in declared
            for line in self._check_local(name, declared[name], target, certain=False)
        ]
        ends: list[Declared] = []
        holders = [statement, *getattr(statement, "handlers", []), *getattr(statement, "cases", [])]
        for index, holder in enumerate(holders):
            holder = holder if index == 0 else copy.copy(holder)
            for name in ("body", "orelse", "finalbody"):
                block = getattr(holder, name, None)
                if block:
                    inner = dict(outer)
                    new = self._block(block, inner)
                    setattr(holder, name, first + new if name == "body" and index == 0 else new)
                    ends.append(inner)
            holders[index] = holder
        for name, group in (("handlers", ast.ExceptHandler), ("cases", ast.match_case)):
            if hasattr(statement, name):
                setattr(statement, name, [holder for holder in holders if isinstance(holder, group)])
        for name in set(outer).union(*ends):
            if any(end.get(name) != outer.get(name) for end in ends):
                declared.pop(name, None)
        return statement

    def _check_target(
        self, target: ast.expr, spec: Spec, statement: ast.stmt, certain: bool
    ) -> list[ast.stmt]:
        if isinstance(target, ast.Name):
            return self._check_local(target.id, spec, statement, certain=certain)
        lines = located([f"_tn_value = {ast.unparse(target)}"], statement)
        site = self._site("local", ast.unparse(target), spec, statement)
        return [*lines, *self._check(site, "_tn_value", statement, certain=certain)]

    def _check_local(
        self, name: str, spec: Spec, statement: ast.stmt | ast.expr, *, certain: bool
    ) -> list[ast.stmt]:
        site = self._site("local", name, spec, statement)
        return self._check(site, name, statement, certain=certain)

    def _return(self, statement: ast.Return, checked: tuple[str, Spec] | None) -> list[ast.stmt]:
        if isinstance(self.returns, Anything):
            return [statement]
        value = statement.value
        if isinstance(value, ast.Name) and checked == (value.id, self.returns):
            return [statement]  # the line above has checked this value against the same spec
        lines = located(["_tn_value = None", "return _tn_value"], statement)
        if value is not None:
            cast("ast.Assign", lines[0]).value = value
        site = self._site("return", "return", self.returns, statement)
        return [lines[0], *self._check(site, "_tn_value", statement, certain=False), lines[1]]

    def _just_checked(self, previous: ast.stmt | None, declared: Declared) -> tuple[str, Spec] | None:
        if isinstance(previous, ast.AnnAssign) and isinstance(previous.target, ast.Name) and previous.value:
            return previous.target.id, declared[previous.target.id]
        return None

    def _yielding(self, statement: ast.stmt) -> list[ast.stmt]:
        """Check the value of a `yield` that is the whole statement or right-hand side."""
        value = getattr(statement, "value", None)
        if not isinstance(value, ast.Yield) or isinstance(self.yields, Anything):
            return [statement]
        lines = located(["_tn_value = None"], statement)
        if value.value is not None:
            cast("ast.Assign", lines[0]).value = value.value
        site = self._site("yield", "yield", self.yields, statement)
        statement = copy.copy(statement)
        read = ast.copy_location(ast.Name("_tn_value", ast.Load()), value)
        setattr(statement, "value", ast.copy_location(ast.Yield(read), value))  # noqa: B010
        return [*lines, *self._check(site, "_tn_value", statement, certain=False), statement]

    # Checks

    def _check(self, site: Site, value: str, place: ast.AST, *, certain: bool) -> list[ast.stmt]:
        if isinstance(site.spec, Anything):
            return []
        self.writer.scope.take_snapshots(axis_tokens(site.spec))
        known = list(self.writer.scope.states)
        test = self.writer.write(site.spec, value, certain=certain)
        if not certain:
            # This place may run again and find what it bound before; until then the variable is None.
            known += sorted(axis_keys(site.spec) & self.writer.scope.uncertain - set(known))
        index = len(self.sites)
        self.sites.append(site)
        bindings = ", ".join(f"{name!r}: {axis_variable(name)}" for name in known)
        learned = sorted(axis_keys(site.spec) - self.writer.scope.module_axes)
        owner = self.writer.scope.self_name or "None"
        snapshots = ", ".join(f"{name!r}: {held}" for name, held in self.writer.scope.snapshots.items())
        arguments = f"{index}, {value}, {{{bindings}}}, {owner}, {{{snapshots}}}"
        validation = [
            f"_tn_verdict = _tn_contract.validate({arguments})",
            "if _tn_verdict.__class__ is not dict:",
            "    raise _tn_verdict from None",
            *(f"{axis_variable(name)} = _tn_verdict.get({name!r})" for name in learned),
        ]
        if isinstance(test, str):
            lines = [f"if _tn_checks and (_tn_checks > 1 or not ({test})):", *indented(validation)]
        elif test:
            first = [
                "_tn_ok = _tn_checks < 2",
                "if _tn_ok:",
                *indented(test),
                "if not _tn_ok:",
                *indented(validation),
            ]
            lines = ["if _tn_checks:", *indented(first)]
        else:
            lines = ["if _tn_checks:", *indented(validation)]
        return located(lines, place)

    def _site(self, kind: str, name: str, spec: Spec, place: ast.stmt | ast.expr | ast.arg) -> Site:
        return Site(kind, name, spec, place.lineno, place.end_lineno or place.lineno)

    def _argument_node(self, name: str) -> ast.arg:
        arguments = self.node.args
        optional = [a for a in (arguments.vararg, arguments.kwarg) if a]
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *optional]
        # A name such as `__x` is `_Net__x` to Python.
        return next(
            argument
            for argument in every
            if argument.arg == name or (argument.arg.startswith("__") and name.endswith(argument.arg))
        )

    def _spec(self, annotation: ast.expr) -> Spec:
        try:
            return parse_hint(self.resolve(annotation))
        except AnnotationError as error:
            raise_unsupported(self.title, annotation, str(error))
