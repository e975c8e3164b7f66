"""Every form of annotation in docs/contract.md compiles whole: no break, and no node in the graph."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pytest
import torch
from jaxtyping import Float, Float32, Int, Shaped
from torch import Tensor, ones
from torch._dynamo.testing import CompileCounterWithBackend

import tinynets as tn


class Pair(NamedTuple):
    left: Float[Tensor, "n"]
    right: Float[Tensor, "n"]


class Record(TypedDict):
    left: Float[Tensor, "n"]
    weights: NotRequired[Float[Tensor, "n"]]


class Partial(TypedDict, total=False):
    bias: Float[Tensor, "n"]


@dataclass
class Data:
    left: Float[Tensor, "n"]
    label: str = ""


class Mode(Enum):
    FAST = 1
    SLOW = 2


class OwnArray:
    """An array of another library: it has a shape and a dtype."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.shape, self.dtype = tensor, tensor.shape, tensor.dtype


V, M, INTS = ones(4), ones(2, 4), torch.ones(4, dtype=torch.int64)
N32, N64 = np.ones(4, dtype=np.float32), np.ones(4, dtype=np.int64)
Row = Float[Tensor, "n"]
# hints of x and y; accepted values; refused values
FORMS: list[tuple[Any, Any, tuple[Any, Any], tuple[Any, Any]]] = [
    (Float[Tensor, "b 4"], Float[Tensor, "rows=2 _ "], (M, M), (M, ones(3, 4))),
    (Float[Tensor, ""], Float[Tensor, "_any n"], (ones(()), M), (V, M)),
    (Float[Tensor, "#a b"], Float[Tensor, "#a b"], (ones(1, 3), ones(2, 3)), (ones(3, 3), ones(2, 3))),
    (Float[Tensor, "a b"], Float[Tensor, "#a b"], (M, ones(1, 4)), (M, ones(3, 4))),
    (Float[Tensor, "#a #a"], Float[Tensor, "a"], (ones(1, 3), ones(3)), (ones(2, 3), ones(3))),
    (Float[Tensor, "... #d"], Float[Tensor, "#d"], (M, V), (M, ones(3))),
    (Float[Tensor, "*#s"], Float[Tensor, "*#s"], (ones(1, 3), ones(2, 3)), (ones(3, 3), ones(2, 3))),
    (Float[Tensor, "#*s d"], Float[Tensor, "*s d"], (ones(1, 3), ones(2, 3)), (ones(2, 3), ones(1, 3))),
    (Float[Tensor, "*s d"], Float[Tensor, "*#s d"], (ones(2, 3), ones(1, 3)), (ones(1, 3), ones(2, 3))),
    (Float[Tensor, "*s d"], Float[Tensor, "*s"], (M, ones(2)), (M, V)),
    (Float[Tensor, "a b"], Float[Tensor, "a+b a-1 2*b"], (M, ones(6, 1, 8)), (M, ones(6, 2, 8))),
    (Float[Tensor, "a b"], Float[Tensor, "b//a b%a"], (M, ones(2, 0)), (M, ones(3, 0))),
    (Float[Tensor, "a b"], Float[Tensor, "a**2 a**b"], (M, ones(4, 16)), (M, ones(4, 8))),
    (Float[Tensor, "a b"], Float[Tensor, "min(a,b) max(a,3)"], (M, ones(2, 3)), (M, ones(2, 2))),
    (Float[Tensor, "a*b"], Float[Tensor, "a b"], (ones(8), M), (ones(7), M)),
    (Float[Tensor, "a//2"], Float[Tensor, "a"], (ones(2), V), (ones(3), V)),
    (Float[Tensor, "a/2"], Float[Tensor, "a"], (ones(2), V), (ones(3), V)),
    (Float[Tensor, "a"], Float[Tensor, "a-{k}"], (V, ones(2)), (V, V)),
    (Float[Tensor, "len"], Float[Tensor, "len+1"], (V, ones(5)), (V, V)),
    (Float[Tensor, "n"] | None, Float[Tensor, "n"], (None, V), (V, ones(3))),
    (Float[Tensor, "n"] | list[Float[Tensor, "n"]], Float[Tensor, "n"], ([V, V], V), ([V, V], ones(3))),
    (Float[Tensor, "n"] | list[Float[Tensor, "n"]], Float[Tensor, "n"], (V, V), (V, ones(3))),
    (Float[Tensor, "n"] | tuple[Float[Tensor, "n"], int], Any, ((V, 3), 0), ((V, "3"), 0)),
    (list[Float[Tensor, "n"]] | tuple[Float[Tensor, "m"], ...], Any, ((V, V), 0), ((V, M), 0)),
    (list[Float[Tensor, "n"]] | list[Float[Tensor, "_"]], Float[Tensor, "n"], ([V, ones(3)], M[0]), ([V], M)),
    (Float[Tensor, "n"] | Int[Tensor, "n m"], Any, (INTS[None], 0), (M, 0)),
    (Float[Tensor, "n"] | Float[Tensor, "n m"] | str, Any, (M, 0), (M.long(), 0)),
    (Float[np.ndarray, "n"] | Float[Tensor, "n"], Float[Tensor, "n"], (V, V), (V, ones(3))),
    (Float[np.ndarray, "n"], Float[Tensor, "n"], (N32, V), (N64, V)),
    (Shaped[np.ndarray, "n m"], Any, (N32[None], 0), (N32, 0)),
    (Float[Any, "n"], Int[Any, "n"], (V, N64), (V, N32)),
    (Float[OwnArray, "n"], Any, (OwnArray(V), 0), (OwnArray(M), 0)),
    (list[Float[Tensor, "n"]], tuple[Float[Tensor, "n"], ...], ([V, V], (V,)), ([V, V], (V, ones(3)))),
    (tuple[Float[Tensor, "n"], Float[Tensor, "n"]], Any, ((V, V), 0), ((V, ones(3)), 0)),
    (dict[str, Float[Tensor, "n"]], Mapping[str, Tensor], ({"a": V}, {"a": V}), ({"a": V}, {"a": 3})),
    (deque[Float[Tensor, "n"]], OrderedDict[str, Tensor], (deque([V]), OrderedDict(a=V)), (deque([M]), 0)),
    (Pair, Float[Tensor, "n"], (Pair(V, V), V), (Pair(V, ones(3)), V)),
    (Data, Float[Tensor, "n"], (Data(V), V), (Data(V, 3), V)),  # pyright: ignore[reportArgumentType]
    (Record, Float[Tensor, "n"], ({"left": V}, V), ({}, V)),
    (Record, Partial, ({"left": V, "weights": V}, {}), ({"left": V, "weights": ones(3)}, {})),
    (Partial, Partial, ({"bias": V}, {"bias": V}), ({"bias": V}, {"bias": ones(3)})),
    (list[tuple[Float[Tensor, "n"], dict[str, Pair]]], Any, ([(V, {"a": Pair(V, V)})], 0), ([(V, [])], 0)),
    (Literal["a", "b"], Literal[1, 2, None], ("b", None), ("c", 1)),
    (Literal[1, 2], Literal[Mode.FAST], (2, Mode.FAST), (3, Mode.FAST)),
    (list[int], dict[str, int], ([1, 2], {"a": 1}), ([1, "2"], {"a": 1})),
    (tuple[int, str], tuple[int, ...], ((1, "a"), (1, 2)), ((1, "a"), (1, "b"))),
    (list[Tensor], tuple[Tensor, ...], ([V, V], (V, M)), ([V, 3], (V,))),
    (Sequence[int] | int, Collection[str], ((1, 2), ["a"]), ((1, 2), [1])),
    (int | None, str | float, (None, 1.5), (None, None)),
    (Callable[..., Tensor], Mode, (torch.relu, Mode.SLOW), (3, Mode.SLOW)),
    (Float32[Tensor, "n"], Float[torch.nn.Parameter, "n"], (V, torch.nn.Parameter(V)), (V, V)),
    (Row | tuple[Row, Row], Row | tuple[Row, Row], (V, (V, V)), (V, (V, ones(3)))),
    (Row | tuple[Row, Row] | None, tuple[Row, ...] | list[Row] | None, ((V, V), [V]), ((V, V), [ones(3)])),
    (Row | tuple[Row, Row] | None, tuple[Row, ...] | list[Row] | None, (None, (V, V)), (None, (V, ones(3)))),
    (Tensor | tuple[Tensor, Tensor], list[Tensor] | None, ((V, M), [V]), ((V, 3), [V])),
    (Float[Tensor, "#*b d"], Float[Tensor, "#*b d"], (ones(2, 1, 3), ones(4, 3)), (ones(2, 3), ones(4, 3))),
    (
        Float[np.ndarray, "... #n"],
        Float[OwnArray, "#*b n"],
        (N32[None], OwnArray(V)),
        (N32, OwnArray(M[:, :3])),
    ),
]


def program(x_hint: Any, y_hint: Any) -> Callable[..., Tensor]:
    @tn.contract
    def f(given: Tensor, x: x_hint, y: y_hint, k: int = 2) -> Float[Tensor, "*given"]:
        held: x_hint = x
        return given + 1

    return f


pytestmark = pytest.mark.usefixtures("fresh_dynamo")


QUICK = {2, 6, 12, 20, 22, 28, 38, 40, 45}  # one of each kind; the others are slow tests
ERRORS = sorted({*QUICK, 8, 14, 23, 24, 30, 34, 41, 43, 49})


def cases(indices: Iterable[int]) -> list[Any]:
    found: list[Any] = []
    for index in indices:
        name = f"{index} {getattr(FORMS[index][0], '__name__', FORMS[index][0])}"
        found.append(pytest.param(*FORMS[index], id=name, marks=[] if index in QUICK else pytest.mark.slow))
    return found


@pytest.mark.parametrize(("x_hint", "y_hint", "accepted", "refused"), cases(range(len(FORMS))))
def test_a_form_leaves_no_trace_in_the_graph(
    x_hint: Any, y_hint: Any, accepted: tuple[Any, Any], refused: tuple[Any, Any]
) -> None:
    function = program(x_hint, y_hint)
    assert torch.equal(function(V, *accepted), V + 1)
    with pytest.raises(tn.ContractError):
        function(V, *refused)
    nodes: list[list[str]] = []
    for checked in (True, False):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("eager")
        with tn.checks(checked):
            compiled = torch.compile(function, backend=counter, fullgraph=True)
            assert torch.equal(compiled(V, *accepted), V + 1)
        (graph,) = counter.graphs
        # An input that only the checks read is a placeholder of its own.
        nodes.append([str(node.target) for node in graph.graph.nodes if node.op != "placeholder"])
    assert nodes[0] == nodes[1]
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(function, backend="eager", fullgraph=True)(V, *refused)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x_hint", "y_hint", "accepted", "refused"), cases(ERRORS)[::3]
)  # each takes seconds
def test_a_form_is_refused_with_our_error(
    x_hint: Any, y_hint: Any, accepted: tuple[Any, Any], refused: tuple[Any, Any]
) -> None:
    function = program(x_hint, y_hint)
    compiled = torch.compile(function, backend="eager")
    with pytest.raises(tn.ContractError) as caught:
        compiled(V, *refused)
    with pytest.raises(tn.ContractError) as eager:
        function(V, *refused)
    assert str(caught.value) == str(eager.value)
    assert torch.equal(compiled(V, *accepted), V + 1)
