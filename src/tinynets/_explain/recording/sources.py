"""The statements of a function as written in its file: the code shown for a line, the names that it assigns,
its kind, and the shape that its annotation or comment declares.
"""

from __future__ import annotations

import ast
import inspect
import io
import linecache
import re
import tokenize
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from ..records import LineKind
from .shape_comments import shape_comment


@dataclass(frozen=True)
class Statement:
    """One statement of a function."""

    node: ast.stmt
    code: str  # on one line, without the trailing comment and the body
    kind: LineKind
    names: tuple[str, ...]  # that it assigns
    indent: int  # depth of nested blocks in its function
    declared: str  # the axis string, or ""
    declared_by: str  # annotation, comment, or ""


@dataclass(frozen=True)
class Source:
    """A function's statements by line number."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    statements: dict[int, Statement]


def source_of(code: CodeType) -> Source | None:
    """Return the statements of a function, or None if its source is not available."""
    linecache.checkcache(code.co_filename)
    lines = tuple(linecache.getlines(code.co_filename))
    parsed = _parse(lines) if lines else None
    if parsed is None:
        return None
    tree, comments = parsed
    for node in tree:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        if node.name == code.co_name and first == code.co_firstlineno:
            return Source(node, _statements(node, lines, comments))
    return None


Functions = list[ast.FunctionDef | ast.AsyncFunctionDef]


@lru_cache(maxsize=256)
def _parse(lines: tuple[str, ...]) -> tuple[Functions, dict[int, str]] | None:
    text = "".join(lines)
    try:
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError, ValueError):
        return None
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return functions, comments


def _statements(
    function: ast.FunctionDef | ast.AsyncFunctionDef, lines: tuple[str, ...], comments: dict[int, str]
) -> dict[int, Statement]:
    found: dict[int, Statement] = {}
    todo: list[tuple[ast.stmt, int]] = [(node, 0) for node in function.body]
    while todo:
        node, indent = todo.pop(0)
        inner = _inner(node)
        todo += [(child, indent + (child.col_offset > node.col_offset)) for child in inner]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Try | ast.TryStar):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        last = node.end_lineno or node.lineno
        if inner:
            last = max(node.lineno, inner[0].lineno - 1)
        statement = _statement(node, indent, lines, comments.get(last, "") if not inner else "", last)
        for line in range(node.lineno, last + 1):
            if line not in found or found[line].kind == "control":  # of `a = f(x); b = a`, keep the first
                found[line] = statement
    return found


def _inner(node: ast.stmt) -> list[ast.stmt]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    holders = [node, *getattr(node, "handlers", []), *getattr(node, "cases", [])]
    names = ("body", "orelse", "finalbody")
    return [statement for holder in holders for name in names for statement in getattr(holder, name, [])]


def _statement(node: ast.stmt, indent: int, lines: tuple[str, ...], comment: str, last: int) -> Statement:
    kind: LineKind = "statement"
    names: tuple[str, ...] = ()
    declared, declared_by = "", ""
    if isinstance(node, ast.Return):
        kind = "return"
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        kind = "assign"
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = tuple(dict.fromkeys(name for target in targets for name in _target_names(target)))
        if isinstance(node, ast.AnnAssign):
            declared = axis_string(node.annotation)
            declared_by = "annotation" if declared else ""
    elif _inner(node) or isinstance(node, ast.Break | ast.Continue | ast.Pass | ast.Assert | ast.Raise):
        kind = "control"
    if not declared and kind in ("assign", "return", "statement"):
        declared = shape_comment(comment)
        declared_by = "comment" if declared else ""
    return Statement(node, _code(node, lines, last), kind, names, indent, declared, declared_by)


def _target_names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Tuple | ast.List):
        return [name for item in target.elts for name in _target_names(item)]
    if isinstance(target, ast.Starred | ast.Subscript):
        return _target_names(target.value)
    return [ast.unparse(target)] if isinstance(target, ast.Name | ast.Attribute) else []


def _code(node: ast.stmt, lines: tuple[str, ...], last: int) -> str:
    if _inner(node):
        header = " ".join(line.strip() for line in lines[node.lineno - 1 : last])
        return re.sub(r"\s+#.*$", "", header)
    end = node.end_lineno or node.lineno
    text = "".join(lines[node.lineno - 1 : end])
    if end == node.lineno:
        raw = lines[end - 1].encode()
        return raw[node.col_offset : node.end_col_offset].decode()
    return ast.unparse(node) if "#" in text else _joined(text.splitlines())


def _joined(lines: list[str]) -> str:
    """Join lines into one, without a space after an opening or before a closing bracket."""
    text = ""
    for line in map(str.strip, lines):
        text += line if not text or text[-1] in "([{" or line[:1] in tuple(")]}") else f" {line}"
    return text


def axis_string(annotation: ast.expr | None) -> str:
    """Return the axis string of an annotation such as `Float[Tensor, "batch 3"]`, or `""`."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return ""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        last = annotation.slice.elts[-1]
        if len(annotation.slice.elts) == 2 and isinstance(last, ast.Constant) and isinstance(last.value, str):
            return last.value
    return ""


def named_tensors(code: CodeType) -> list[str]:
    """Return the names of a function's arguments."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return list(code.co_varnames[:count])
