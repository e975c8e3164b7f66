"""torch's symbolic sizes, for `tn.explain`, proofs and exports: made, compared, rounded quotients merged, and
which conditions of a trace count as those of the model.

`torch.export` is their public use, but shows only the finished program. If torch drops these names, `explain`
loses axis names and formulas, and `export` loses the free batch of 1; real sizes do not need them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportPrivateUsage=false
from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def new_environment() -> Any:
    """Return an environment that does not assume that sizes with the same hint are equal."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    return ShapeEnv(
        specialize_zero_one=False,
        duck_shape=False,
        allow_scalar_outputs=True,
        allow_dynamic_output_shape_ops=True,
    )


def new_size(environment: Any, name: str, hint: int) -> tuple[Any, Any]:
    """Return a symbol of a unique name, and the size (a `torch.SymInt`) that it stands for.

    It may be any number; the hint is the one that decides comparisons while a model is traced.
    """
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic

    source = ConstantSource(name)
    symbol = environment.create_symbol(
        hint,
        source,
        dynamic_dim=DimDynamic.DYNAMIC,
        constraint_dim=None,
        do_not_specialize_zero_one=True,
    )
    return symbol, environment.create_symintnode(symbol, hint=hint, source=source)


def expression_of(size: Any) -> Any:
    """Return a size as a number or a sympy expression, without reading the hint of a symbol."""
    return size if isinstance(size, int | float) else size.node.expr


def is_floor_division(expression: Any) -> bool:
    """Return whether an expression is a floor division, for which sympy has no class."""
    from torch.utils._sympy.functions import FloorDiv

    return isinstance(expression, FloorDiv)


def with_floor_divisions(size: Any) -> Any:
    """Rewrite the result of Python's `//` on sympy sizes as torch's `FloorDiv`, without fractions."""
    import sympy
    from torch.utils._sympy.functions import FloorDiv

    def divided(inside: Any) -> Any:
        return FloorDiv(*sympy.fraction(sympy.together(inside)))

    return size.replace(sympy.floor, divided)


def join_floor_divisions(size: Any) -> Any:
    """Merge nested floor divisions: `((h-1)//2-1)//2+1` is `(h+1)//4`."""
    if not getattr(size, "args", ()):
        return size
    size = size.func(*map(join_floor_divisions, size.args))
    sum_of, divisor = size.args if is_floor_division(size) else (size, 1)
    number, quotient = sum_of.as_coeff_Add()
    if not (is_floor_division(quotient) and number.is_Integer and quotient.args[1].is_Integer):
        return size
    numerator, inner = quotient.args
    return quotient.func(numerator + number * inner, inner * divisor)


def equal_at_all_sizes(first: Any, second: Any) -> bool:
    """Return whether two sizes are equal for all values of their symbols; different forms are tested on 8."""
    if first == second:
        return True
    difference = first - second
    if isinstance(difference, int | float):
        return False
    primes = (101, 211, 307, 401, 503, 601, 701, 809)
    symbols = sorted(difference.free_symbols, key=str)
    return all(
        difference.xreplace({s: primes[(turn + place) % 8] + turn for place, s in enumerate(symbols)}) == 0
        for turn in range(8)
    )


def branches(environment: Any) -> list[Any]:
    """Return the conditions on symbols that the traced code relied on.

    Conditions with which torch's fake kernels choose a library for a convolution are left out: they are not
    branches of the model. If torch renames the file of these kernels, models are traced once more.
    """
    return [guard.expr for guard in environment.guards if not _asked_in(guard, "fake_impls.py")]


def conditions(environment: Any) -> list[Any]:
    """Return the conditions on symbols under which the shapes of a trace are valid, None for other ones.

    With the others, torch's fake kernel of a convolution chooses a library, which does not affect shapes. The
    list is parallel to `environment.guards`.
    """
    return [None if _asked_in(g, "fake_impls.py", "conv") else g.expr for g in environment.guards]


def _asked_in(guard: Any, file: str, function: str = "") -> bool:
    frame = getattr(getattr(guard, "sloc", None), "framework_loc", None)
    where = os.path.basename(getattr(frame, "filename", "")), getattr(frame, "name", "")
    return where == (file, function or where[1])


def function_of(expression: Any, symbols: list[Any]) -> Callable[..., Any]:
    """Return a size or condition as a function of its symbols, which is much faster than substitution."""
    import sympy
    from torch.utils._sympy.printers import PythonPrinter

    names = [f"axis_{index}" for index in range(len(symbols))]
    renamed = expression.xreplace(
        {old: sympy.Symbol(new, integer=True) for old, new in zip(symbols, names, strict=True)}
    )
    source = f"lambda {', '.join(names)}: {PythonPrinter().doprint(renamed)}"
    return eval(source, {"math": math, "max": max, "min": min, "abs": abs, "True": True, "False": False})


def one_program_for_all_sizes() -> AbstractContextManager[Any]:
    """Make `torch.export` write one program for batches of 1 and of more, instead of two.

    Without this setting, a batch that is free in the contract would have to be at least 2 in the file.
    """
    from torch.fx.experimental import _config

    config: Any = _config
    return config.patch(backed_size_oblivious=True)
