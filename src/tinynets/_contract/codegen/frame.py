"""Wrap the checked body of a function in code that decides, on each call, how its checks run."""

from __future__ import annotations

import ast
from typing import cast

from .guard_code import GuardWriter
from .syntax import indented, located


def framed(
    body: list[ast.stmt], entry: list[str], place: ast.AST, writer: GuardWriter, *, notes: bool
) -> list[ast.stmt]:
    """Return a body that runs its checks as `entry` decides, or as the toggle does under `torch.compile`.

    Args:
        body: the statements with their checks.
        entry: source lines that set `_tn_checks`.
        place: the node whose position the added lines get.
        writer: the writer of the guards.
        notes: whether to add a note on where they happened to errors that pass through.
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
    # Dynamo skips a function whose graph breaks inside a `try`, so the body is there twice.
    main.body += body
    cast("ast.Try", main.orelse[-1]).body = body  # the same nodes: compiling does not change them
    return [main]
