"""A straight line: one generated function that accepts what was traced and computes it, or returns `MISS`."""

from __future__ import annotations

import builtins
import inspect
import keyword
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor

from .._torch.tracing.pytree import tree_flatten, tree_unflatten
from .._torch.tracing.straight_line import InferenceGuard, any_autocast_enabled, autocast_state
from .body_code import BodyWriter
from .trace import Trace
from .watch import Watch

MISS = object()
"""What a straight line returns for arguments, or a model, that it was not traced for."""

# What the source refers to besides weights, arguments, sizes and operators.
_RESERVED = frozenset(dir(builtins)) | set(
    """MISS Tensor strided math checks hooks attributes traced_attributes modules module_types
    autocast autocast_state traced_autocast in_inference_mode inference compute shape args kwargs
    flatten unflatten leaves arrangement structure returned""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Line:
    """The code of a straight line, to be bound to the tensors of a model.

    Attributes:
        source: the function as Python.
        test: the code of its first function, which accepts or returns `MISS`.
        body: the code of its second function, which computes.
        constants: what it reads besides the model.
        weights: variable -> place of a parameter or buffer in a `Watch`.
    """

    source: str
    test: CodeType
    body: CodeType
    constants: Mapping[str, Any]
    weights: Mapping[str, tuple[int, str]]

    def bind(self, watch: Watch, *, in_block: bool = False) -> Callable[..., Any]:
        """Return the function for a model as it is now.

        Args:
            watch: the model.
            in_block: whether an open mode block is none of its concern.
        """
        weights = {name: watch.tensor_at(*place) for name, place in self.weights.items()}
        names = {**self.constants, **watch.constants(in_block=in_block), **weights}
        names["compute"] = FunctionType(self.body, names)
        return FunctionType(self.test, names)


def write_line(trace: Trace, signature: inspect.Signature, watch: Watch) -> Line:
    """Write the straight line of a trace.

    Args:
        trace: what to write.
        signature: the signature of the model's forward, for the names of arguments.
        watch: the model as it was traced.

    Raises:
        ValueError: the graph does something that a straight line cannot.
    """
    tensors = _tensor_names(trace)
    parameters = _parameters(trace, signature, frozenset(tensors.values()))
    arguments = parameters or [f"leaf{i}" for i in range(len(trace.leaves))]
    variables = dict(zip(trace.leaves, arguments, strict=True))
    accept = _accept(trace, variables)
    sizes = accept.sizes
    inputs = {**variables, **tensors}
    taken = _RESERVED | set(inputs.values()) | set(sizes.values())
    autocast = autocast_state()
    writer = BodyWriter(
        trace.graph, inputs=inputs, sizes=sizes, taken=frozenset(taken), in_place=not autocast
    )
    outputs = writer.write()
    head, tail = _call_and_return(trace, parameters, outputs)
    used = {node.name for node in trace.graph.nodes if node.users}
    read = {tensors[p]: tensor for p, tensor in trace.tensors.items() if p in used}
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
                *_require(_tensor_tests(read, accept.constants)),
                "if in_inference_mode():",
                f"    return compute({given})",
                "with inference(True):",
                f"    return compute({given})",
            ),
            "",
            f"def compute({given}):",
            *_indented(*writer.lines, tail),
        ]
    )
    code = compile(source, f"<straight line of {type(watch.modules[0]).__name__}>", "exec")
    test, body = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return Line(
        source,
        test,
        body,
        {
            **accept.constants,
            **writer.constants,
            **read,
            "MISS": MISS,
            "Tensor": Tensor,
            "strided": torch.strided,
            "inference": InferenceGuard,
            "in_inference_mode": torch.is_inference_mode_enabled,
            "autocast": any_autocast_enabled,
            "autocast_state": autocast_state,
            "traced_autocast": autocast,
            "flatten": tree_flatten,
            "unflatten": tree_unflatten,
            "structure": trace.taken,
            "returned": trace.returned,
        },
        {name: places[id(tensor)] for name, tensor in read.items() if id(tensor) in places},
    )


def _tensor_names(trace: Trace) -> dict[str, str]:
    """Return a variable for each tensor that the graph reads: its path, as far as it can be a name."""
    names: dict[str, str] = {}
    for placeholder in trace.tensors:
        name = _name(trace.paths.get(placeholder, placeholder))
        while name in names.values():
            name += "_"
        names[placeholder] = name
    return names


def _parameters(trace: Trace, signature: inspect.Signature, taken: frozenset[str]) -> list[str]:
    """Return the arguments by name, or nothing where they are to be flattened."""
    named = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ][: len(trace.leaves)]
    plain = trace.alone and len(named) == len(trace.leaves) and not (_RESERVED | taken) & set(named)
    return named if plain else []


class _Accept:
    """The tests of the arguments.

    Attributes:
        tests: expressions that are true for what was traced.
        sizes: symbol -> variable of a free size.
        constants: what the tests read.
    """

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.sizes: dict[str, str] = {}
        self.constants: dict[str, Any] = {"math": math}


def _accept(trace: Trace, variables: Mapping[str, str]) -> _Accept:
    """Write the tests that accept what is like the traced arguments."""
    accept = _Accept()
    sizes = accept.sizes
    for placeholder, leaf in trace.leaves.items():
        name = variables[placeholder]
        if not isinstance(leaf, Tensor):
            accept.tests.append(_constant_test(name, leaf))
            continue
        dtype = str(leaf.dtype).removeprefix("torch.")
        accept.constants[dtype] = leaf.dtype
        kind = [f"type({name}) is Tensor", f"{name}.dtype is {dtype}", f"{name}.layout is strided"]
        if leaf.device.type == "cpu":
            kind.append(f"{name}.is_cpu")
        else:
            device = _name(str(leaf.device))
            accept.constants[device] = leaf.device
            kind.append(f"{name}.device == {device}")
        kind.append(f"{name}.{_layout(leaf, accept.constants)}")
        row: list[str] = []
        for axis, size in enumerate(trace.shapes[placeholder]):
            if isinstance(size, str) and size not in sizes and size.isidentifier():
                sizes[size] = f"{name}_size{axis}"
                row.append(f"({sizes[size]} := shape[{axis}])")
            else:
                row.append(_renamed(str(size), sizes))
        shape = _row(row)
        if any("shape[" in size for size in row):
            kind += [f"len(shape := {name}.shape) == {len(row)}", f"shape == {shape}"]
        else:
            kind.append(f"{name}.shape == {shape}")
        accept.tests.append(" and ".join(kind))
    accept.tests += [_renamed(condition, sizes) for condition in trace.conditions]
    return accept


def _renamed(source: str, sizes: Mapping[str, str]) -> str:
    return re.sub(r"\b[a-z]+\d+\b", lambda found: sizes.get(found[0], found[0]), source)


def _constant_test(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"{name} is {value}"
    if type(value) in (int, float, str) and value == value:
        return f"type({name}) is {type(value).__name__} and {name} == {value!r}"
    raise ValueError(f"it takes a {type(value).__name__} as an argument")


def _layout(tensor: Tensor, constants: dict[str, Any]) -> str:
    if tensor.is_contiguous():
        return "is_contiguous()"
    for layout, rank in ((torch.channels_last, 4), (torch.channels_last_3d, 5)):
        if tensor.ndim == rank and tensor.is_contiguous(memory_format=layout):
            name = str(layout).removeprefix("torch.")
            constants[name] = layout
            return f"is_contiguous(memory_format={name})"
    raise ValueError("an argument is a view of a larger tensor")


def _tensor_tests(tensors: Mapping[str, Tensor], constants: dict[str, Any]) -> list[str]:
    """Test what forward may depend on besides the values of tensors: their shapes and dtypes."""
    tests: list[str] = []
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        constants[dtype] = tensor.dtype
        tests.append(f"{name}.shape == {tuple(tensor.shape)} and {name}.dtype is {dtype}")
    return tests


def _indented(*lines: str) -> list[str]:
    return [f"    {line}" for line in lines]


def _require(tests: list[str]) -> list[str]:
    """Write the source that gives up unless all tests hold."""
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
        return head, f"return {_row(outputs)}"
    return head, f"return unflatten({_row(outputs)}, returned)"


def _row(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _name(path: str) -> str:
    name = re.sub(r"\W", "_", path)
    name = name if name.isidentifier() else f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _RESERVED else name
