"""The generated input test of a loaded program: calls that pass it skip the slower contract check; which
dtypes and sizes it accepts, and which programs have none.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .._contract.codegen.guard_code import GuardWriter
from .._contract.codegen.shape_code import AxisScope, axis_variable
from .exported_contract import Signature, TensorSpec

MISS = object()
"""The return value of an accepting call for arguments or results that need the contract check."""


def accepting_call(signature: Signature, run: Callable[[list[Tensor]], Any]) -> Callable[..., Any] | None:
    """Return a function that runs a program on arguments that fit its contract, and else returns `MISS`.

    It accepts a subset of what the contract accepts. None if no test can be written, or if the program
    returns several tensors.
    """
    writer = GuardWriter(AxisScope(frozenset(signature.sizes), "sizes"))
    names = [tensor.name for tensor in signature.inputs]
    usable = all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    if not usable or len(set(names)) < len(names) or len(signature.outputs) != 1:
        return None
    tests: list[str] = []
    for tensor, name in zip(signature.inputs, names, strict=True):
        test = _test(writer, tensor, f"argument_{name}")
        if test is None:
            return None
        tests.append(test)
    for axis, (least, most) in signature.ranges.items():
        if axis in writer.scope.states:
            tests.append(
                f"{axis_variable(axis)} >= {least}"
                + ("" if most is None else f" and {axis_variable(axis)} <= {most}")
            )
    result = _test(writer, signature.outputs[0], "result")
    if result is None:
        return None
    lines = [
        f"def call({', '.join(names)}):",
        *(f"    argument_{name} = {name}" for name in names),
        *(f"    if not ({test}): return MISS" for test in tests),
        f"    result = run([{', '.join(f'argument_{name}' for name in names)}])",
        f"    return result if {result} else MISS",
    ]
    constants = {
        **writer.constants,
        "sizes": SimpleNamespace(**signature.sizes),
        "MISS": MISS,
        "Tensor": Tensor,
        "run": run,
    }
    code = compile("\n".join(lines), "<the contract of an exported program>", "exec")
    return FunctionType(next(c for c in code.co_consts if isinstance(c, CodeType)), constants)


def _test(writer: GuardWriter, tensor: TensorSpec, variable: str) -> str | None:
    test = writer.write(tensor.spec, variable, certain=True)
    if not isinstance(test, str):
        return None
    dtype = writer.constant("dtype", tensor.dtype, getattr(torch, tensor.dtype))
    kind = f"type({variable}) is Tensor and {variable}.dtype is {dtype} and not {variable}.requires_grad"
    return f"{kind} and {test}"
