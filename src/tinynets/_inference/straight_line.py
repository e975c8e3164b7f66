"""Put a straight line together from the tests of inputs, changes and weights and its body: names of
arguments, containers, autocast, inference mode; it returns `MISS` for calls that it does not accept.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor

from .._torch.tracing.kernels import kernel_settings
from .._torch.tracing.pytree import tree_flatten, tree_unflatten
from .._torch.tracing.thread_state import InferenceGuard, any_autocast_enabled, autocast_state
from .accept_code import RESERVED, accept_tests, free_name, name_of, row_of
from .backends import Backend
from .body_code import BodyWriter
from .native_convolution import twin_tests
from .program_code import MISS, Body, tensor_tests, within_range, write_program
from .trace import Trace
from .watch import Watch


@dataclass(frozen=True)
class Line:
    """The code of a straight line, to be bound to the tensors of a model."""

    source: str  # both functions as Python
    test: CodeType  # of the first function, which accepts or returns `MISS`
    body: CodeType  # of the second function, which computes
    constants: Mapping[str, Any]  # what it reads besides the model
    weights: Mapping[str, tuple[int, str]]  # variable -> place of a parameter or buffer in a `Watch`

    def bind(self, watch: Watch, *, in_block: bool = False) -> Callable[..., Any]:
        """Return the function for a model as it is now; `in_block`: an open mode block is not its concern."""
        weights = {name: watch.tensor_at(*place) for name, place in self.weights.items()}
        names = {**self.constants, **watch.constants(in_block=in_block), **weights}
        names["compute"] = FunctionType(self.body, names)
        return FunctionType(self.test, names)


def write_line(
    trace: Trace, signature: inspect.Signature, watch: Watch, backend: Backend | None = None
) -> Line:
    """Write the straight line of a trace: its operations, or the call of the program that a backend makes.

    Raises:
        ValueError: the graph does something that a straight line cannot.
    """
    tensors = _tensor_names(trace)
    parameters = _parameters(trace, signature, frozenset(tensors.values()))
    arguments = parameters or [f"leaf{i}" for i in range(len(trace.leaves))]
    variables = dict(zip(trace.leaves, arguments, strict=True))
    accept = accept_tests(trace, variables)
    sizes = accept.sizes
    inputs = {**variables, **tensors}
    taken = RESERVED | set(inputs.values()) | set(sizes.values())
    autocast = autocast_state()
    read = {tensors[p]: trace.tensors[p] for p in trace.read if p in trace.tensors}
    if backend is None:
        writer = BodyWriter(
            trace.graph, inputs=inputs, sizes=sizes, taken=frozenset(taken), autocast=bool(autocast)
        )
        outputs = writer.write()
        tests, constants = tensor_tests(read)
        if writer.replaced:
            given = {variables[p]: leaf for p, leaf in trace.leaves.items() if isinstance(leaf, Tensor)}
            tests += twin_tests({name: {**given, **read}[name] for name in writer.replaced}, given)
        body = Body(writer.lines, outputs, tests, {**constants, **writer.constants})
    else:
        body = write_program(trace, inputs, read, backend)
    head, tail = _call_and_return(trace, parameters, body.outputs)
    places = watch.places()
    given = ", ".join([*(variables[p] for p in trace.shapes), *accept.sizes.values()])
    traced = f"autocast(){' and autocast_state() == traced_autocast' if autocast else ' is False'}"
    source = "\n".join(
        [
            f"def straight_line({', '.join(parameters) or '*args, **kwargs'}):",
            *_indented(
                *head,
                *_require(accept.tests),
                *_require([traced, *watch.tests()]),
                *_require(body.tests),
                "if in_inference_mode():",
                f"    return compute({given})",
                "with inference(True):",
                f"    return compute({given})",
            ),
            "",
            f"def compute({given}):",
            *_indented(*body.lines, tail),
        ]
    )
    code = compile(source, f"<straight line of {type(watch.modules[0]).__name__}>", "exec")
    test, compute = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return Line(
        source,
        test,
        compute,
        {
            **accept.constants,
            **body.constants,
            **read,
            "MISS": MISS,
            "Tensor": Tensor,
            "strided": torch.strided,
            "inference": InferenceGuard,
            "in_inference_mode": torch.is_inference_mode_enabled,
            "autocast": any_autocast_enabled,
            "autocast_state": autocast_state,
            "traced_autocast": autocast,
            "kernels": kernel_settings,
            "traced_kernels": kernel_settings(),
            "within_range": within_range,
            "flatten": tree_flatten,
            "unflatten": tree_unflatten,
            "structure": trace.taken,
            "returned": trace.returned,
        },
        {name: places[id(tensor)] for name, tensor in read.items() if id(tensor) in places},
    )


def _tensor_names(trace: Trace) -> dict[str, str]:
    """Return a variable for each tensor that the graph reads: its path, as an identifier."""
    names: dict[str, str] = {}
    for placeholder in trace.tensors:
        names[placeholder] = free_name(name_of(trace.paths.get(placeholder, placeholder)), names.values())
    return names


def _parameters(trace: Trace, signature: inspect.Signature, taken: frozenset[str]) -> list[str]:
    """Return the names of the arguments, or nothing if they must be flattened."""
    named = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ][: len(trace.leaves)]
    plain = trace.alone and len(named) == len(trace.leaves) and not (RESERVED | taken) & set(named)
    return named if plain else []


def _indented(*lines: str) -> list[str]:
    return [f"    {line}" for line in lines]


def _require(tests: list[str]) -> list[str]:
    """Write the source that returns `MISS` unless all tests hold."""
    if not tests:
        return []
    return [
        "if not (",
        *(f"    {'and ' if i else ''}{test}" for i, test in enumerate(tests)),
        "):",
        "    return MISS",
    ]


def _call_and_return(trace: Trace, parameters: list[str], outputs: list[str]) -> tuple[list[str], str]:
    head: list[str] = []
    if not parameters:
        names = "".join(f"leaf{i}, " for i in range(len(trace.leaves)))
        head = [
            "leaves, arrangement = flatten((args, kwargs))",
            "if arrangement != structure:",
            "    return MISS",
        ]
        head += [f"{names}= leaves"] if names else []
    if trace.returned.is_leaf():
        return head, f"return {outputs[0]}"
    if trace.returned.type is tuple and all(part.is_leaf() for part in trace.returned.children()):
        return head, f"return {row_of(outputs)}"
    return head, f"return unflatten({row_of(outputs)}, returned)"
