"""Rewrite the source of a module for the import hook, so that a function gets its checks on its first call;
which functions and classes are left alone (`@torch.jit.script`, `@no_type_check`, empty overloads).

Until then its body begins with statements that build the checked function and call it. The original body
follows, unreachable, so that the signature, free variables and kind (a generator, say) stay the same. A
function inside a function is built when it is created.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import cast

from .._contract.codegen.syntax import FunctionNode, located, parameters_of, split_docstring

# Names added to an instrumented module: its `CheckedModule`, and its functions by their first line.
PACKAGE, FUNCTION = "_tn_package", "_tn_function_"

# Types without tensors of known shape, if the types in their brackets have none either.
_PLAIN = frozenset(
    word
    for line in (
        "Any AnyStr Callable ClassVar Collection Dict Final FrozenSet Generator Hashable Iterable Iterator",
        "List Literal Mapping Module ModuleList MutableMapping NoReturn None Never Optional Parameter Path",
        "Self Sequence Set Size Tensor Tuple Type Union bool bytes complex device dict dtype float frozenset",
        "int list ndarray object set slice str tuple type",
    )
    for word in line.split()
)
# Decorators that compile the source or the bytecode of a function.
_COMPILERS = ("script", "script_if_tracing", "ignore", "unused", "jit", "njit", "vectorize", "guvectorize")
# Decorators of functions that are only declared.
_DECLARING = frozenset({"overload", "abstractmethod"})
# Decorators that are built in and need not be inspected at run time.
_BUILT_IN = ("property", "staticmethod", "classmethod", "abstractmethod", "overload", "setter", "dataclass")


def instrumented(tree: ast.Module) -> ast.Module:
    """Instrument a module, in place."""
    own_classes = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not _is_dict(node)
    }
    _Instrumenter(own_classes).visit(tree)
    return ast.fix_missing_locations(tree)


def instrumented_inside(node: FunctionNode) -> FunctionNode:
    """Instrument the functions and classes inside a definition, in place."""
    instrumenter = _Instrumenter(set())
    instrumenter.depth = 1
    node.body = [instrumenter.visit(statement) for statement in node.body]
    return ast.fix_missing_locations(node)


def why_left_alone(node: FunctionNode) -> str:
    """Return why a function is not instrumented although it is annotated, or `""`."""
    for decorator in node.decorator_list:
        name = _name(decorator)
        if name == "no_type_check":
            return "it is decorated with no_type_check"
        if name in _COMPILERS:
            return f"@{ast.unparse(decorator)} compiles it from its source"
    return ""


def _is_empty(node: FunctionNode) -> bool:
    _, rest = split_docstring(node.body)
    return all(
        isinstance(statement, ast.Pass | ast.Raise)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in rest
    )


def hints_of(node: FunctionNode) -> Iterator[ast.expr]:
    """Yield the annotations of a function: its signature and its lines, without functions inside it."""
    for argument in parameters_of(node).values():
        if argument.annotation:
            yield argument.annotation
    if node.returns:
        yield node.returns
    yield from _line_hints(node)


def _line_hints(node: ast.AST) -> Iterator[ast.expr]:
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.AnnAssign):
            yield part.annotation
        elif isinstance(part, ast.stmt | ast.excepthandler | ast.match_case) and not isinstance(
            part, FunctionNode | ast.ClassDef
        ):
            yield from _line_hints(part)


class _Instrumenter(ast.NodeTransformer):
    """Instruments functions that may have tensor annotations; only resolved names show whether they do."""

    def __init__(self, own_classes: set[str]) -> None:
        self.plain = _PLAIN | own_classes
        self.depth = 0  # functions around the place
        self.owner = ""  # the class around it
        self.declares = False  # whether that class is a protocol

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if any(_name(decorator) == "no_type_check" for decorator in node.decorator_list):
            return node
        around = self.owner, self.declares
        self.owner, self.declares = node.name, any(_name(base) == "Protocol" for base in node.bases)
        self.generic_visit(node)
        self.owner, self.declares = around
        if any(isinstance(part, ast.AnnAssign) and not self._is_plain(part.annotation) for part in node.body):
            place = node.decorator_list[0] if node.decorator_list else node
            node.decorator_list = [
                _parsed(f"{PACKAGE}.fields({node.lineno})", place),
                *map(_watched, node.decorator_list),
            ]
        return node

    def visit_FunctionDef(self, node: FunctionNode) -> ast.AST:
        if any(_name(decorator) == "no_type_check" for decorator in node.decorator_list):
            return node
        self.depth += 1
        node.body = [self.visit(statement) for statement in node.body]
        self.depth -= 1
        declared = self.declares or not _DECLARING.isdisjoint(map(_name, node.decorator_list))
        alone = why_left_alone(node) or (declared and _is_empty(node))
        if alone or all(map(self._is_plain, hints_of(node))):
            return node
        how = "inner" if self.depth else "instrument"
        instrument = _parsed(f"{PACKAGE}.{how}({node.lineno}, {node.end_lineno})", node)
        node.decorator_list = [*map(_watched, node.decorator_list), instrument]
        if not self.depth:
            documentation, _ = split_docstring(node.body)
            node.body[len(documentation) : len(documentation)] = _first_call(node, self.owner)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def _is_plain(self, hint: ast.expr) -> bool:
        match hint:
            case ast.Constant(value=str(text)):
                try:
                    return self._is_plain(ast.parse(text.strip(), mode="eval").body)
                except SyntaxError:
                    return False
            case ast.Constant():
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name in self.plain
            case ast.Subscript(value=value, slice=inner):
                return self._is_plain(value) and (_name(value) == "Literal" or self._is_plain(inner))
            case ast.BinOp(left=left, right=right):
                return self._is_plain(left) and self._is_plain(right)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return all(map(self._is_plain, parts))
            case _:
                return False


def _first_call(node: FunctionNode, owner: str) -> list[ast.stmt]:
    """Return the statements that build a function and call it with the arguments of this call."""
    arguments = node.args
    given = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    given += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    given += [f"{_mangled(a.arg, owner)}={a.arg}" for a in arguments.kwonlyargs]
    given += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    call = f"{FUNCTION}{node.lineno}({', '.join(given)})"
    yields = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in _own_nodes(node))
    if isinstance(node, ast.AsyncFunctionDef):
        text = (
            f"async for _tn_item in {call}:\n    yield _tn_item\nreturn" if yields else f"return await {call}"
        )
    else:
        text = f"return (yield from {call})" if yields else f"return {call}"
    place = ast.Pass(
        lineno=node.lineno, end_lineno=node.lineno, col_offset=node.col_offset, end_col_offset=node.col_offset
    )
    return located([f"{PACKAGE}.build({node.lineno}, {PACKAGE}.is_traced())", text], place)


def _mangled(name: str, owner: str) -> str:
    """Return the name under which a keyword argument of a method is passed: Python mangles `__x`."""
    private = owner and name.startswith("__") and not name.endswith("__")
    return f"_{owner.lstrip('_')}{name}" if private else name


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FunctionNode | ast.ClassDef | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _watched(decorator: ast.expr) -> ast.expr:
    """Wrap a decorator so that it is skipped if it turns out to be a type checker's."""
    if _name(decorator) in _BUILT_IN:
        return decorator
    call = cast("ast.Call", _parsed(f"{PACKAGE}.decorator(_)", decorator))
    call.args = [decorator]
    return call


def _parsed(text: str, place: ast.AST) -> ast.expr:
    return cast("ast.Expr", located([text], place)[0]).value


def _name(expression: ast.expr) -> str:
    match expression:
        case ast.Call(func=function):
            return _name(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Subscript(value=value):
            return _name(value)
        case _:
            return ""


def _is_dict(node: ast.ClassDef) -> bool:
    """Whether a class is a TypedDict or has annotated fields, so that its name may stand for tensors."""
    return any(_name(base) == "TypedDict" for base in node.bases) or any(
        isinstance(part, ast.AnnAssign) for part in node.body
    )
