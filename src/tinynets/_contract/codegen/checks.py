"""Write the statements of one check (the guard, the validation if it fails, the use of the value) for an
argument, a line, `name[...] = item`, a return or a yield.

They have the position of the user's line, so tracebacks, coverage and debuggers show the user's own file. No
generated variable owns a value once it has been checked. Around all of them stands what decides at each call
how they run.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field, replace
from typing import cast

from ..annotations.plain_types import matches_hint
from ..annotations.specs import Anything, ItemsSpec, MappingSpec, PlainSpec, Site, Spec, axis_tokens
from .guard_code import GuardWriter, axis_keys
from .shape_code import axis_variable
from .syntax import indented, located


@dataclass(eq=False, repr=False)
class CheckWriter:
    """Writes the checks of one function, in source order."""

    writer: GuardWriter
    returns: Spec
    yields: Spec  # of the values that a generator yields
    sites: list[Site] = field(default_factory=list[Site], init=False)

    def argument(self, name: str, spec: Spec, place: ast.arg) -> list[ast.stmt]:
        """Check an argument, before anything else runs."""
        return self._check(_site("argument", place.arg, spec, place), name, place, certain=True)

    def local(self, name: str, spec: Spec, place: ast.AST, *, certain: bool) -> list[ast.stmt]:
        """Check the value of a local variable."""
        return self._check(_site("local", name, spec, place), name, place, certain=certain)

    def store(
        self, statement: ast.Assign | ast.AnnAssign, target: ast.expr, spec: Spec, *, certain: bool
    ) -> list[ast.stmt]:
        """Check a value before it is stored in an attribute or item; the target is evaluated once."""
        site = _site("local", ast.unparse(target), spec, statement)
        check = self._check(site, "_tn_value", statement, certain=certain, owned=True)
        if not check:
            return self.yielding(statement)
        *lines, assigned = self.yielding(statement)
        first, assignment, last = located(
            ["_tn_value = None", "_tn_target = _tn_value", "_tn_value = None"], statement
        )
        cast("ast.Assign", first).value = cast("ast.Assign", assigned).value
        cast("ast.Assign", assignment).targets = [target]
        return [*lines, first, *check, assignment, last]

    def returning(self, statement: ast.Return, checked: tuple[str, Spec] | None) -> list[ast.stmt]:
        """Check a return value, unless the line above has `checked` this name by the same spec."""
        if isinstance(self.returns, Anything):
            return [statement]
        value, site = statement.value, _site("return", "return", self.returns, statement)
        if isinstance(value, ast.Name):
            if checked == (value.id, self.returns):
                return [statement]
            return [*self._check(site, value.id, statement, certain=False), statement]
        first, last = located(["_tn_value = None", "return _tn_value"], statement)
        if value is not None:
            cast("ast.Assign", first).value = value
        check = self._check(site, "_tn_value", statement, certain=False, owned=True)
        return [first, *check, last]

    def yielding(self, statement: ast.stmt) -> list[ast.stmt]:
        """Check the value of a `yield` that is the whole statement or right-hand side."""
        value = getattr(statement, "value", None)
        if not isinstance(value, ast.Yield) or isinstance(self.yields, Anything):
            return [statement]
        site = _site("yield", "yield", self.yields, statement)
        check = self._check(site, "_tn_value", statement, certain=False, owned=True)
        # While the generator is suspended, only its consumer has a reference to the value.
        first, *handing_over, last = located(
            ["_tn_value = None", "_tn_handed = [_tn_value]", "_tn_value = None", "_tn_handed.pop()"],
            statement,
        )
        if value.value is not None:
            cast("ast.Assign", first).value = value.value
        statement = copy.copy(statement)
        handed = cast("ast.Expr", last).value
        setattr(statement, "value", ast.copy_location(ast.Yield(handed), value))  # noqa: B010
        return [first, *check, *handing_over, statement]

    def _check(
        self, site: Site, value: str, place: ast.AST, *, certain: bool, owned: bool = False
    ) -> list[ast.stmt]:
        """Write one check of the variable that holds the value, at the position of a node.

        A `certain` place runs exactly once, before all places that are written later. An `owned` variable is
        a generated one, which must not hold the value after a refusal.
        """
        if isinstance(site.spec, Anything):
            return []
        self.writer.scope.take_snapshots(axis_tokens(site.spec))
        known = list(self.writer.scope.states)
        test = self.writer.write(site.spec, value, certain=certain)
        if not certain:
            # This place may run again and find what it bound before; on its first run, the variable is None.
            known += sorted(axis_keys(site.spec) & self.writer.scope.uncertain - set(known))
        index = len(self.sites)
        self.sites.append(replace(site, variable=value))
        bindings = ", ".join(f"{name!r}: {axis_variable(name)}" for name in known)
        learned = sorted(axis_keys(site.spec) - self.writer.scope.module_axes)
        owner = self.writer.scope.self_name or "None"
        snapshots = ", ".join(f"{name!r}: {held}" for name, held in self.writer.scope.snapshots.items())
        arguments = f"{index}, {value}, {{{bindings}}}, {owner}, {{{snapshots}}}"
        validation = [
            f"_tn_verdict = _tn_contract.validate({arguments})",
            "if _tn_verdict.__class__ is not _tn_dict:",
            *([f"    {value} = None"] if owned else []),
            "    raise _tn_verdict.pop() from None",
            *(f"{axis_variable(name)} = _tn_verdict.get({name!r})" for name in learned),
        ]
        if isinstance(test, str):
            lines = [f"if _tn_checks and (_tn_checks > 1 or not ({test})):", *indented(validation)]
        else:
            guard = ["if _tn_ok:", *indented(test), "if not _tn_ok:", *indented(validation)]
            lines = ["if _tn_checks:", *indented(["_tn_ok = _tn_checks < 2", *guard])]
        return located(self.writer.with_builtins(lines), place)


def framed(
    body: list[ast.stmt], entry: list[str], place: ast.AST, writer: GuardWriter, *, notes: bool
) -> list[ast.stmt]:
    """Return a body that runs its checks as `entry` says, and as they are under `torch.compile`.

    The lines of `entry` set `_tn_checks`; `notes` add to errors that pass through where they happened.
    """
    frame = ["if _tn_compiling():", "    _tn_checks = _tn_toggle.on", "else:", *indented(entry)]
    if notes:
        frame += indented(
            [
                "try:",
                "    _tn_body",
                "except Exception as _tn_error:",
                "    _tn_verdict = _tn_contract.note(_tn_error, locals())",
                "    if _tn_verdict:",
                "        raise _tn_verdict.pop() from None",
                "    raise",
            ]
        )
    main = cast("ast.If", located(writer.with_builtins(frame), place)[0])
    if not notes:
        return [main, *body]
    # Dynamo compiles nothing of a function whose graph breaks inside a `try`, so the body stands twice.
    main.body += body
    cast("ast.Try", main.orelse[-1]).body = body  # the same nodes: compiling does not change them
    return [main]


def item_spec(spec: Spec, index: ast.expr) -> Spec | None:
    """Return the spec of the one item that an assignment to `container[index]` replaces, or None."""
    if isinstance(spec, ItemsSpec) and not isinstance(index, ast.Slice):
        return spec.item
    if isinstance(spec, MappingSpec) and isinstance(index, ast.Constant):
        key = spec.key
        if isinstance(key, Anything) or (isinstance(key, PlainSpec) and matches_hint(index.value, key.hint)):
            return spec.value
    return None


def _site(kind: str, name: str, spec: Spec, place: ast.AST) -> Site:
    line: int = getattr(place, "lineno", 0)
    return Site(kind, name, spec, line, getattr(place, "end_lineno", None) or line)
