"""The syntax tree of a function as it stands in the user's file, with the file's own line numbers."""

from __future__ import annotations
import __future__

import ast
import copy
import dis
import inspect
import os
import time
from types import CodeType, FunctionType
from typing import cast

from ...errors import NoSourceError

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_FUTURE_FLAGS = sum(int(getattr(__future__, name).compiler_flag) for name in __future__.all_feature_names)

# A file that was last written before this module was imported is the one that was compiled.
_STARTED = time.time()


def function_node(function: FunctionType) -> tuple[FunctionNode, str]:
    """Parse the definition of a function; return it with its text.

    Raises:
        NoSourceError: no source file, a lambda, or a file that was edited after it was imported.
    """
    try:
        lines, first_line = inspect.getsourcelines(function.__code__)
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise NoSourceError(str(error)) from None
    # An indented method parses as the body of an `if`, which keeps its columns for the carets of a traceback.
    indented = lines[0][:1].isspace()
    text = "".join(["if 1:\n", *lines] if indented else lines)
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        raise NoSourceError(str(error)) from None
    ast.increment_lineno(module, first_line - (2 if indented else 1))
    statement = module.body[0]
    node = statement.body[0] if isinstance(statement, ast.If) else statement
    if not isinstance(node, FunctionNode):
        raise NoSourceError("not a def statement")
    if _may_have_changed(function) and not _same_code(compile_function(node, function), function.__code__):
        raise NoSourceError("the file was changed after it was imported")
    return node, text


def _may_have_changed(function: FunctionType) -> bool:
    """Whether the source could be newer than the code; what has no file, such as a notebook cell, could."""
    try:
        return os.stat(function.__code__.co_filename).st_mtime >= _STARTED
    except OSError:
        return True


def compile_function(node: FunctionNode, like: FunctionType, free: tuple[str, ...] = ()) -> CodeType:
    """Compile a definition as if it stood where `like` stands: same file, same free variables, same class.

    Args:
        node: the definition; its decorators, defaults and annotations are not evaluated.
        like: the function whose surroundings to use.
        free: names of additional free variables.
    """
    bare = copy.copy(node)
    bare.decorator_list, bare.returns, bare.args = [], None, _without_annotations(node.args, node)
    # Only the shell is parsed from text, since its nodes have other fields in every version of Python.
    owner = _class_name(like)
    names = ", ".join([*like.__code__.co_freevars, *free])
    shell = cast(
        "ast.FunctionDef", ast.parse(f"def surroundings({names}):\n class {owner or '_'}: pass").body[0]
    )
    if owner is None:
        shell.body = [bare]
    else:  # private names (`self.__weight`) are mangled with the name of the class
        cast("ast.ClassDef", shell.body[0]).body = [bare]
    module = ast.Module([shell], [])
    flags = like.__code__.co_flags & _FUTURE_FLAGS
    code = compile(module, like.__code__.co_filename, "exec", flags=flags, dont_inherit=True)
    assert isinstance(code, CodeType)
    return _find(code, node.name, ["surroundings", owner] if owner else ["surroundings"])


def _without_annotations(arguments: ast.arguments, place: ast.AST) -> ast.arguments:
    def bare(argument: ast.arg) -> ast.arg:
        return ast.copy_location(ast.arg(argument.arg), argument)

    none = ast.copy_location(ast.Constant(None), place)
    return ast.arguments(
        posonlyargs=[bare(a) for a in arguments.posonlyargs],
        args=[bare(a) for a in arguments.args],
        vararg=bare(arguments.vararg) if arguments.vararg else None,
        kwonlyargs=[bare(a) for a in arguments.kwonlyargs],
        kw_defaults=[none if default else None for default in arguments.kw_defaults],
        kwarg=bare(arguments.kwarg) if arguments.kwarg else None,
        defaults=[none for _ in arguments.defaults],
    )


def _class_name(function: FunctionType) -> str | None:
    names = function.__qualname__.split(".")
    return names[-2] if len(names) > 1 and names[-2] != "<locals>" else None


def _find(code: CodeType, name: str, path: list[str]) -> CodeType:
    for part in [*path, name]:
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


def _same_code(ours: CodeType, theirs: CodeType) -> bool:
    """Whether two code objects do the same, so that the source at hand is the one that was compiled."""
    if any(name.startswith("@py") for name in theirs.co_names + theirs.co_varnames):
        # pytest has rewritten the asserts of this function: compare what it leaves as it was.
        return ours.co_argcount == theirs.co_argcount and set(ours.co_varnames) <= set(theirs.co_varnames)
    if ours.co_varnames != theirs.co_varnames or _instructions(ours) != _instructions(theirs):
        return False
    return len(ours.co_consts) == len(theirs.co_consts) and all(
        _same_code(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else repr(a) == repr(b)
        for a, b in zip(ours.co_consts, theirs.co_consts, strict=True)
    )


# How a call is prepared depends on the imports of the whole module, which are not compiled again.
_CALL_DETAILS = {"PUSH_NULL", "PRECALL", "NOP", "CACHE", "COPY_FREE_VARS"}


def _instructions(code: CodeType) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for instruction in dis.get_instructions(code):
        name = instruction.opname.replace("LOAD_METHOD", "LOAD_ATTR")
        text = instruction.argrepr
        if name in _CALL_DETAILS:
            continue
        if instruction.opcode in dis.hasjrel or isinstance(instruction.argval, CodeType):
            text = ""
        for mark in ("NULL + ", " + NULL", "NULL|self + ", " + NULL|self"):
            text = text.removeprefix(mark).removesuffix(mark)
        found.append((name, text))
    return found
