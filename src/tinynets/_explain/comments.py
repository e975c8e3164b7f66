"""Shape comments in a file: which lines get `# [batch, 256]`, which comments are stale or were not reached,
the diff, and which files define models.

Only comments change. A comment that holds is kept, whatever axis names it uses, so writing is idempotent.
"""

from __future__ import annotations

import ast
import difflib
import io
import os
import re
import tokenize
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .explanation import Explanation
from .recording.shape_comments import SHAPE_COMMENT, shape_comment
from .records import Line


@dataclass(frozen=True)
class Finding:
    """A line whose shape comment is wrong, or that has none."""

    line: int  # last line of the statement, where its comment is
    code: str
    written: str  # the shape in its comment, or ""
    right: str  # the actual shape


def find_comments(path: Path, explanations: Iterable[Explanation]) -> list[Finding]:
    """Compare the comments of a file with the shapes of its lines, in `forward` and the methods it calls.

    On a line that makes different shapes, an existing comment is checked, but no new one is written.
    """
    text = _decode(path.read_bytes())[0]
    ends, comments = _ends_of_statements(text), _comments(text)
    found: list[Finding] = []
    for number, same in sorted(_lines_of(path, explanations).items()):
        end = ends.get(number)
        shapes = {value.shape for line in same for value in line.values}
        single = all(len(line.values) == 1 for line in same)
        annotated = any(line.declared_by == "annotation" for line in same)
        if end is None or annotated or not single or not shapes:
            continue
        written = shape_comment(comments[end][1]) if end in comments else ""
        wrong = [line for line in same if line.verdict == "≠"]
        if written and not wrong:
            continue
        shape = (wrong[0] if wrong else same[0]).values[0].shape
        tensors = all(not line.values[0].label for line in same)  # not a dict or a list of tensors
        plain = not written and end not in comments and len(shapes) == 1 and tensors
        if (wrong or plain) and "?" not in " ".join(shape):
            stale = f"[{', '.join(written.split())}]" if written else ""
            found.append(Finding(end, same[0].code, stale, f"[{', '.join(shape)}]"))
    return found


def unseen_comments(path: Path, explanations: Iterable[Explanation]) -> list[int]:
    """Return the lines of shape comments in methods that no explanation reached."""
    lines = _lines_of(path, explanations)
    text = _decode(path.read_bytes())[0]
    seen = {end for first, end in _ends_of_statements(text).items() if first in lines}
    methods = [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for kind in ast.walk(_parsed(text))
        if isinstance(kind, ast.ClassDef)
        for node in kind.body
        if isinstance(node, ast.FunctionDef) and node.name != "__init__"
    ]
    return [
        line
        for line, (_, comment) in _comments(text).items()
        if shape_comment(comment) and line not in seen and any(line in method for method in methods)
    ]


def with_comments(path: Path, findings: Iterable[Finding]) -> str:
    """Return the text of a file with the shape of every finding in it."""
    text, _ = _decode(path.read_bytes())
    lines, comments = text.splitlines(keepends=True), _comments(text)
    for finding in findings:
        line = lines[finding.line - 1]
        body = line.rstrip("\r\n")
        ending = line[len(body) :]
        if finding.line in comments:
            column, comment = comments[finding.line]
            old = SHAPE_COMMENT.match(comment)
            if old is None:
                continue
            group = "square" if old["square"] else "round"
            start, stop = old.span(group)
            fixed = comment[: start - 1] + finding.right + comment[stop + 1 :]
            body = body[:column] + fixed
        else:
            body = f"{body}  # {finding.right}"
        lines[finding.line - 1] = body + ending
    return "".join(lines)


def write_comments(path: Path, findings: Iterable[Finding]) -> bool:
    """Write the shape of every finding into the file, and return whether it changed."""
    source = path.read_bytes()
    new = with_comments(path, findings).encode(_decode(source)[1])
    if new == source:
        return False
    path.write_bytes(new)
    return True


def comments_diff(path: Path, findings: Iterable[Finding]) -> str:
    """Return the changes of `write_comments` as a unified diff; `""` if there are none."""
    old, new = _decode(path.read_bytes())[0], with_comments(path, findings)
    name = path.as_posix()
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, name)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def defines_models(source: bytes) -> bool:
    """Return whether a file has a class with a forward pass, without running it.

    Raises:
        SyntaxError, ValueError: the file is not Python.
    """
    classes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))
    return any(
        isinstance(node, ast.FunctionDef) and node.name.startswith("forward")
        for kind in classes
        for node in kind.body
    )


def _lines_of(path: Path, explanations: Iterable[Explanation]) -> dict[int, list[Line]]:
    """Return the lines of a file that ran and make or return something, by the number of each."""

    @cache
    def is_ours(file: str) -> bool:
        return os.path.exists(file) and os.path.samefile(file, path)

    lines: dict[int, list[Line]] = {}
    for run in (run for explanation in explanations for run in explanation.runs):
        for _, frame, line in run.frame.walk():
            if line.kind in ("assign", "return") and not line.failed and is_ours(frame.file):
                lines.setdefault(line.line, []).append(line)
    return lines


def _decode(source: bytes) -> tuple[str, str]:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    return source.decode(encoding), encoding


def _parsed(text: str) -> ast.Module:
    return ast.parse(text.removeprefix("\ufeff"))


def _ends_of_statements(text: str) -> dict[int, int]:
    """Map the first line to the last line of every statement that shares no line with another."""
    statements = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(_parsed(text))
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return | ast.Expr)
    ]
    counts = Counter(line for statement in statements for line in set(statement))
    lines = text.splitlines()
    return {
        first: last
        for first, last in statements
        if counts[first] == counts[last] == 1 and not re.search(r";\s*(#.*)?$", lines[last - 1])
    }


def _comments(text: str) -> dict[int, tuple[int, str]]:
    """Map each line to the column and text of its comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text.removeprefix("\ufeff"), newline="").readline)
    return {
        token.start[0]: (token.start[1], token.string.rstrip("\r\n"))
        for token in tokens
        if token.type == tokenize.COMMENT
    }
