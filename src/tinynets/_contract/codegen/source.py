"""Find the definition of a function in its file, and compile a changed one in its place; the errors for a
function without usable source: an edited file, stale bytecode, a lambda, code from `exec`.

The tree is used only if the file still compiles to the code that Python runs. Bytecode may be older than its
file (an edit after the import, an unchecked-hash `.pyc`), and an import hook may have rewritten it.
"""

from __future__ import annotations
import __future__

import ast
import copy
import linecache
import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, cast

from ...errors import NoSourceError
from .syntax import FunctionNode

_FUTURE_FLAGS = sum(int(getattr(__future__, name).compiler_flag) for name in __future__.all_feature_names)


def function_node(function: FunctionType) -> tuple[FunctionNode, str]:
    """Return the definition of a function in its file, and its text.

    Raises:
        NoSourceError: the function has no source, is a lambda, or was not compiled from this source.
    """
    code = function.__code__
    if code.co_name == "<lambda>":
        raise NoSourceError("not a def statement")
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise NoSourceError("could not get source code")
    text, flags = "".join(lines), code.co_flags & _FUTURE_FLAGS
    try:
        tree = _parse_file(text, code.co_filename)
        node = _find_definition(tree, code)
        if node is not None and any(
            code == candidate
            for unit in _compilations(text, flags, function)
            for candidate in code_objects(unit)
        ):
            return node, "".join(lines[node.lineno - 1 : node.end_lineno])
    except (SyntaxError, ValueError) as error:
        raise NoSourceError(str(error)) from None
    raise NoSourceError(
        "the file was changed after it was imported, or its bytecode was not compiled from it as it is"
    )


def _compilations(text: str, flags: int, function: FunctionType) -> Iterator[CodeType]:
    """Compile the file in every way in which Python may have compiled the function."""
    code = function.__code__
    yield _compile_file(text, code.co_filename, flags)
    loader = function.__globals__.get("__loader__")
    if type(loader).__module__ == "_pytest.assertion.rewrite":
        yield _compile_rewritten_asserts(text, code.co_filename, loader)
    # IPython and interactive shells compile each statement alone, so calls of imported functions differ.
    for statement in _parse_file(text, code.co_filename).body:
        if _first_line(statement) <= code.co_firstlineno <= (statement.end_lineno or 0):
            yield _compile(ast.Module([statement], []), code.co_filename, flags)


# The classes of a file are usually created one after another, so a small cache is enough.
@lru_cache(maxsize=2)
def _parse_file(text: str, filename: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python showed them when it compiled the file
        return ast.parse(text, filename)


@lru_cache(maxsize=2)
def _compile_file(text: str, filename: str, flags: int) -> CodeType:
    return _compile(_parse_file(text, filename), filename, flags)


@lru_cache(maxsize=2)
def _compile_rewritten_asserts(text: str, filename: str, loader: Any) -> CodeType:
    """Compile a test file as pytest does, with the configuration that its loader keeps."""
    tree = ast.parse(text, filename)
    cast(Any, sys.modules["_pytest.assertion.rewrite"]).rewrite_asserts(
        tree, text.encode(), filename, loader.config
    )
    return _compile(tree, filename, 0)


def _compile(tree: ast.Module, filename: str, flags: int) -> CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(tree, filename, "exec", flags=flags, dont_inherit=True)


def code_objects(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and those of the functions and classes in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_objects(constant)


def code_inside(code: CodeType, *names: str) -> CodeType:
    """Return the code of a definition, given by its name and those around it."""
    for name in names:
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)
    return code


def _find_definition(parent: ast.AST, code: CodeType) -> FunctionNode | None:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.stmt | ast.excepthandler):
            if not _first_line(node) <= code.co_firstlineno <= (node.end_lineno or 0):
                continue
            first = _first_line(node) == code.co_firstlineno
            if first and isinstance(node, FunctionNode) and node.name == code.co_name:
                return node
        elif not isinstance(node, ast.match_case):
            continue
        found = _find_definition(node, code)
        if found is not None:
            return found
    return None


def _first_line(node: ast.stmt | ast.excepthandler) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return decorators[0].lineno if decorators else node.lineno


def compile_function(node: FunctionNode, like: FunctionType, free: tuple[str, ...] = ()) -> CodeType:
    """Compile a definition in the place of a function: same file, free variables (and more) and class.

    Its decorators, defaults and annotations are not evaluated.
    """
    bare = copy.copy(node)
    bare.decorator_list, bare.returns, bare.args = [], None, _without_annotations(node.args, node)
    first = like.__code__.co_firstlineno
    if first < node.lineno:  # the function begins with its decorators, also for `inspect.getsource`
        decorator = ast.Constant(None, lineno=first, end_lineno=first, col_offset=0, end_col_offset=0)
        bare.decorator_list = [decorator]
    if hasattr(bare, "type_params"):  # Python 3.12; a type parameter that the body reads is a free variable
        setattr(bare, "type_params", [])  # noqa: B010
    owner, names = _class_name(like), like.__code__.co_freevars
    # Only the surroundings are parsed from text: the fields of their nodes depend on the version of Python.
    lines = [f"def surroundings({', '.join([*names, *free])}):", f" class {owner or '_'}: pass"]
    if (owner or node.name) not in names:
        lines.insert(1, f" global {owner or node.name}")  # a body that reads this name finds it in its module
    surroundings = cast("ast.FunctionDef", ast.parse("\n".join(lines)).body[0])
    if owner is None:
        surroundings.body[-1] = bare
    else:  # private names (`self.__weight`) are mangled with the name of the class
        cast("ast.ClassDef", surroundings.body[-1]).body = [bare]
    code = _compile(
        ast.Module([surroundings], []), like.__code__.co_filename, like.__code__.co_flags & _FUTURE_FLAGS
    )
    code = code_inside(code, "surroundings", *([owner] if owner else []), node.name)
    return code.replace(co_qualname=like.__code__.co_qualname)


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
