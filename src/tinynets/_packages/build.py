"""Build the checked version of an instrumented function: the function object stays, its code changes, and the
constants of its checks become globals of the module.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, cast

from jaxtyping import AnnotationError

from .._contract.annotations.class_scope import NO_CLASS
from .._contract.annotations.resolve_names import NameResolver
from .._contract.builder import FunctionBuilder, RewrittenFunction
from .._contract.codegen.source import code_objects, compile_function
from .._contract.codegen.syntax import FunctionNode, collection_paused, parse_definition
from .._contract.runtime import FunctionContract
from .instrument import instrumented_inside
from .lenient_policy import Lenient

_CONTRACT = "_tn_contract"


def build_in_place(
    function: FunctionType,
    source: list[str],
    policy: Lenient,
    *,
    at_definition: bool = False,
    label: str = "",
    doubt: Callable[[str], None] | None = None,
) -> Counter[str]:
    """Add checks to a function, or restore its original code if it has no tensor annotations.

    The constants of the checks become globals of the module, since new code must keep the free variables of
    the old.

    Args:
        function: the function.
        source: the lines of its `def`.
        policy: has the number of the first of these lines, and records what cannot be enforced.
        at_definition: as for `NameResolver`.
        label: a part of the names of the globals, unique to this function; its line if empty.
        doubt: called with a message for each axis that looks misspelt.

    Returns:
        The number of arguments, returns, lines and so on that are checked.
    """
    with collection_paused():
        node, text = original_source(function, source, policy.line)
        names = NameResolver(function.__globals__, function, at_definition=at_definition)
        builder = FunctionBuilder(function, names, decorated=True, policy=policy, source=(node, text))
        rewritten = builder.rewrite()
        names.release_scope()
        if not rewritten.sites:
            return Counter()
        if doubt is not None:
            _look_at_names(builder, rewritten, policy, doubt)
        record = FunctionContract(
            function, builder.place(rewritten), NO_CLASS, rewritten.sites, policy=policy
        )
        code = compile_function(rewritten.node, function)
        new_names = _as_globals(
            function, {**rewritten.constants, _CONTRACT: record}, label or str(policy.line)
        )
        function.__code__ = code.replace(co_names=tuple(new_names.get(n, n) for n in code.co_names))
        return Counter(site.kind for site in rewritten.sites)


def original_source(function: FunctionType, source: list[str], line: int) -> tuple[FunctionNode, str]:
    """Restore the code of a function; return its definition, instrumented inside, and its text."""
    node = cast("FunctionNode", parse_definition(source, line))
    text = "".join(source)
    if "def " in text[text.index("def ") + 4 :]:
        node = instrumented_inside(node)
    function.__code__ = compile_function(node, function)
    return copy.copy(node), text


def code_in_file(instrumented: CodeType, lines: list[str]) -> CodeType:
    """Return the code that Python itself would have compiled in place of an instrumented one."""
    module = compile("".join(lines), instrumented.co_filename, "exec", dont_inherit=True)
    place = instrumented.co_qualname, instrumented.co_firstlineno
    return next(code for code in code_objects(module) if (code.co_qualname, code.co_firstlineno) == place)


def _as_globals(function: FunctionType, values: dict[str, Any], label: str) -> dict[str, str]:
    """Set globals, renamed if other values have their names; return the new names."""
    module, renamed = function.__globals__, dict[str, str]()
    for name, value in values.items():
        unique = f"{name}_{label}" if name == _CONTRACT else name
        while module.setdefault(unique, value) is not value:
            unique = f"{unique}_" if unique != name else f"{name}_{label}"
        renamed[name] = unique
    return renamed


def _look_at_names(
    builder: FunctionBuilder, rewritten: RewrittenFunction, policy: Lenient, doubt: Callable[[str], None]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            builder.check_axis_names(rewritten)
        except AnnotationError as error:
            policy.refuse(builder.name, "", 0, str(error).removeprefix(f"{builder.name}, "))
    for warning in caught:
        doubt(str(warning.message))
