"""The contract under `torch.compile`: the checks are traced away, and still obeyed.

Graphs are compared with those of the same model under `tn.checks(False)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from torch._functorch.aot_autograd import aot_module_simplified

import tinynets as tn

from . import models
from .models import CASES, Case

# Dynamo looks at `.grad` of the lines behind the place where it left the graph, and hides the warning that
# this gives, but not where warnings are errors.
GRAD_OF_A_LINE = "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"


def slow(value: Any) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


BATCHES = (4, 3, 64)  # a number, a symbol, and a size where convolutions compile anew


@pytest.fixture(params=["mlp", slow("nested")])
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


pytestmark = pytest.mark.usefixtures("fresh_dynamo")


@dataclass
class Compiled:
    """What became of some calls: as many numbers as there are graphs."""

    nodes: list[int]
    breaks: int
    batches: list[Any] = field(default_factory=list)  # the size of axis 0 of the images in each graph


def compiled(
    calls: Sequence[tuple[nn.Module, Tensor]], *, checked: bool, backend: str = "eager", **options: Any
) -> Compiled:
    """Compile each model once and call it with the images that stand next to it."""
    torch._dynamo.reset()
    counters.clear()
    counter = CompileCounterWithBackend(backend)
    made: dict[nn.Module, Any] = {}
    with tn.checks(checked):
        for model, images in calls:
            if model not in made:
                made[model] = torch.compile(model, backend=counter, **options)
            made[model](images)
    assert counter.frame_count == len(counter.graphs)
    images = [
        node.meta["example_value"]
        for graph in counter.graphs
        for node in graph.graph.nodes
        if node.op == "placeholder" and "images" in node.name
    ]
    nodes = [len(graph.graph.nodes) for graph in counter.graphs]
    return Compiled(nodes, sum(counters["graph_break"].values()), [image.shape[0] for image in images])


def both(calls: Sequence[tuple[nn.Module, Tensor]], **options: Any) -> tuple[Compiled, Compiled]:
    return compiled(calls, checked=True, **options), compiled(calls, checked=False, **options)


def message(case: Case) -> str:
    """What is left of our text in an error of dynamo's own."""
    return rf"{case.names[0]}\.forward: {case.names[1]}: expected float \[batch {case.shape[0]} "


@pytest.mark.parametrize("fullgraph", [slow(False), True])
@pytest.mark.parametrize("training", [False, slow(True)])
def test_the_graph_is_that_of_the_unchecked_model(case: Case, fullgraph: bool, training: bool) -> None:
    torch.manual_seed(0)
    model = case.make().train(training)
    if training and hasattr(model, "dropout"):
        model.dropout = 0.0
    ours, plain = both([(model, case.valid())], fullgraph=fullgraph)
    assert ours.nodes == plain.nodes
    assert len(ours.nodes) == 1
    assert ours.breaks == 0


def test_the_batch_stays_dynamic_over_many_sizes(case: Case) -> None:
    model = case.make().eval()
    ours, plain = both([(model, case.valid(batch)) for batch in BATCHES])
    assert ours.nodes == plain.nodes
    assert ours.breaks == 0
    # One graph for the first batch, one for all others; convolutions compare the batch with 16 themselves.
    assert len(ours.nodes) == (2 if case is CASES["mlp"] else 3)
    assert ours.batches[0] == 4
    assert all(isinstance(batch, torch.SymInt) for batch in ours.batches[1:])


@pytest.mark.slow
def test_a_batch_that_is_marked_dynamic_is_never_a_number(case: Case) -> None:
    model = case.make().eval()

    def calls() -> list[tuple[nn.Module, Tensor]]:
        images = [case.valid(batch) for batch in BATCHES]
        for each in images:
            torch._dynamo.mark_dynamic(each, 0)
        return [(model, each) for each in images]

    ours = compiled(calls(), checked=True, fullgraph=True)
    plain = compiled(calls(), checked=False, fullgraph=True)
    assert ours.nodes == plain.nodes
    assert all(isinstance(batch, torch.SymInt) for batch in ours.batches)


@pytest.mark.slow
def test_a_second_instance_of_other_sizes_costs_no_more_than_unchecked(case: Case) -> None:
    first, second = case.make().eval(), case.make(**case.other).eval()
    calls = [(model, case.valid(batch)) for batch in BATCHES for model in (first, second)]
    ours, plain = both(calls)
    assert ours.nodes == plain.nodes
    assert ours.breaks == 0


@pytest.mark.slow
def test_a_block_that_is_compiled_once_for_all_instances(case: Case) -> None:
    """Regional compilation: `module.compile()` on each of several instances of one class."""
    blocks = [models.Block(4).eval() for _ in range(3)]
    pixels = [(block, torch.randn(batch, 4, 8, 8)) for batch in BATCHES for block in blocks]
    ours, plain = both(pixels)
    assert ours.nodes == plain.nodes


def nodes_after_aot_autograd(model: nn.Module, images: Sequence[Tensor], *, checked: bool) -> list[int]:
    torch._dynamo.reset()
    found: list[int] = []

    def count(graph: torch.fx.GraphModule, _: Any) -> Any:
        found.append(len(graph.graph.nodes))
        return graph.forward

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        return aot_module_simplified(graph, inputs, fw_compiler=count)

    with tn.checks(checked), torch.no_grad():
        wrapped = torch.compile(model, backend=backend, dynamic=True, fullgraph=True)
        for each in images:
            torch.testing.assert_close(wrapped(each), model(each))
    return found


@pytest.mark.slow
def test_dynamic_compiles_to_the_same_program(case: Case) -> None:
    """With `dynamic=True` every size starts as a symbol, and comparing it with a number makes it one.

    That leaves dead size nodes in the graph that dynamo hands over, so the graph after AOTAutograd, which
    drops them, is compared.
    """
    model = case.make().eval()
    images = [case.valid(batch) for batch in BATCHES]
    ours = nodes_after_aot_autograd(model, images, checked=True)
    plain = nodes_after_aot_autograd(model, images, checked=False)
    assert len(ours) == len(plain)
    assert all(mine <= theirs for mine, theirs in zip(ours, plain, strict=True))


@pytest.mark.filterwarnings(GRAD_OF_A_LINE)
@pytest.mark.parametrize("dynamic", [None, slow(False), slow(True)])
def test_an_invalid_input_raises_our_own_error(case: Case, dynamic: bool | None) -> None:
    model = case.make().eval()
    wrapped = torch.compile(model, backend="eager", dynamic=dynamic)
    for _ in range(2):
        with pytest.raises(tn.ShapeError, match=case.refusal) as caught:
            wrapped(case.invalid())
        assert caught.value.axis == 1
        assert wrapped(case.valid()).shape[0] == 4
    with pytest.raises(tn.DtypeError):
        wrapped(case.valid().long())


@pytest.mark.slow
def test_an_invalid_input_after_valid_ones_of_several_sizes_is_refused(case: Case) -> None:
    model = case.make().eval()
    wrapped = torch.compile(model, backend="eager")
    for batch in BATCHES:
        assert wrapped(case.valid(batch)).shape[0] == batch
        with pytest.raises(tn.ShapeError, match=case.refusal):
            wrapped(case.invalid(batch))


def test_fullgraph_puts_our_text_into_dynamos_message(case: Case) -> None:
    wrapped = torch.compile(case.make().eval(), backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=message(case)):
        wrapped(case.invalid())
    assert wrapped(case.valid()).shape[0] == 4


@pytest.mark.filterwarnings(GRAD_OF_A_LINE)
@pytest.mark.slow
def test_a_line_that_does_not_fit_is_refused(case: Case) -> None:
    model = case.make().eval()
    model.num_classes = 99
    with pytest.raises(tn.ShapeError, match="num_classes"):
        torch.compile(model, backend="eager")(case.valid())
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="batch num_classes"):
        torch.compile(model, backend="eager", fullgraph=True)(case.valid())


@pytest.mark.filterwarnings(GRAD_OF_A_LINE)
@pytest.mark.slow
def test_a_module_axis_that_changes_is_followed(case: Case) -> None:
    model = case.make().eval()
    wrapped = torch.compile(model, backend="eager")
    wrapped(case.valid())
    true = model.num_classes
    model.num_classes = 99
    with pytest.raises(tn.ShapeError, match="num_classes"):
        wrapped(case.valid())
    model.num_classes = true
    assert wrapped(case.valid()).shape == (4, true)


def test_checks_that_are_toggled_between_calls_are_obeyed() -> None:
    case = CASES["mlp"]
    model = case.make().eval()
    counter = CompileCounterWithBackend("eager")
    wrapped = torch.compile(model, backend=counter, fullgraph=True)
    wrapped(case.valid())
    assert counter.frame_count == 1
    with tn.checks(False):
        assert wrapped(case.invalid()).shape == (4, 10)  # 784 numbers, in a wrong order
        assert counter.frame_count == 2
    with pytest.raises(torch._dynamo.exc.Unsupported, match=message(case)):
        wrapped(case.invalid())
    wrapped(case.valid())
    with tn.checks(False):
        wrapped(case.invalid())
    assert counter.frame_count == 2, "what was compiled for either setting is kept"


@pytest.mark.slow
def test_module_compile(case: Case) -> None:
    model = case.make().eval()
    model.compile(backend="eager")
    assert model(case.valid()).shape[0] == 4
    with pytest.raises(tn.ShapeError, match=case.refusal):
        model(case.invalid())


@pytest.mark.slow
def test_gradients_are_those_of_the_eager_model(case: Case) -> None:
    model = case.make().eval()
    images = case.valid()
    wrapped = torch.compile(model, backend="aot_eager", fullgraph=True)
    ours = torch.autograd.grad(wrapped(images).sum(), list(model.parameters()))
    eager = torch.autograd.grad(model(images).sum(), list(model.parameters()))
    torch.testing.assert_close(ours, eager)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated")  # imported by inductor
def test_inductor_computes_the_same_and_refuses_the_same() -> None:
    case = CASES["mlp"]
    model = case.make().eval()
    wrapped = torch.compile(model)
    for batch in (4, 3):
        images = case.valid(batch)
        torch.testing.assert_close(wrapped(images), model(images), rtol=1e-4, atol=1e-4)
        with pytest.raises(tn.ShapeError, match=case.refusal):
            wrapped(case.invalid(batch))


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...], tuple[Any, ...], str]] = {
    "tuple": (models.halves, (torch.ones(2, 6),), (torch.ones(6),), "halves: x"),
    "list": (
        models.total,
        ([torch.ones(2, 3), torch.ones(2, 3)],),
        ([torch.ones(2, 3), torch.ones(3, 2)],),
        "total: items",
    ),
    "optional, given": (
        models.shifted,
        (torch.ones(2, 3), torch.ones(3)),
        (torch.ones(2, 3), torch.ones(2)),
        "shifted: bias",
    ),
    "optional, left out": (models.shifted, (torch.ones(2, 3),), (torch.ones(2),), "shifted: x"),
    "dict": (
        models.scaled,
        ({"a": torch.ones(2, 3), "b": torch.ones(2, 3)},),
        ({"a": torch.ones(2, 3), "b": torch.ones(2, 4)},),
        "scaled: parts",
    ),
    "variadic": (
        models.attention,
        (torch.ones(2, 5, 4, 3), torch.ones(2, 5, 6, 3)),
        (torch.ones(2, 5, 4, 3), torch.ones(3, 5, 6, 3)),
        "attention: key",
    ),
}


@pytest.mark.parametrize(
    "name", ["optional, given", *(slow(name) for name in FUNCTIONS if name != "optional, given")]
)
@pytest.mark.parametrize("dynamic", [None, slow(True)])
def test_contract_functions_and_containers_compile_whole(name: str, dynamic: bool | None) -> None:
    function, valid, invalid, site = FUNCTIONS[name]
    counter = CompileCounterWithBackend("eager")
    whole = torch.compile(function, backend=counter, fullgraph=True, dynamic=dynamic)
    torch.testing.assert_close(whole(*valid), function(*valid))
    assert counter.frame_count == 1
    with pytest.raises(torch._dynamo.exc.Unsupported, match=re.escape(site)):
        whole(*invalid)
    torch._dynamo.reset()
    parts = torch.compile(function, backend="eager", dynamic=dynamic)
    torch.testing.assert_close(parts(*valid), function(*valid))
    with pytest.raises(tn.ShapeError):
        parts(*invalid)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_contract_functions_leave_no_node_in_the_graph(name: str) -> None:
    function, valid, _, _ = FUNCTIONS[name]
    counts: list[list[int]] = []
    for checked in (True, False):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("eager")
        with tn.checks(checked):
            torch.compile(function, backend=counter, fullgraph=True)(*valid)
        counts.append([len(graph.graph.nodes) for graph in counter.graphs])
    assert counts[0] == counts[1]


class Broken(tn.Module):
    """Its own code breaks the graph in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, images: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        first: Float[Tensor, "batch 4"] = self.fc(images)
        torch._dynamo.graph_break()
        second: Float[Tensor, "batch 4"] = self.fc(first).relu()
        return second


@pytest.mark.filterwarnings(GRAD_OF_A_LINE)
def test_what_is_around_a_graph_break_stays_compiled() -> None:
    """Dynamo would compile nothing of the function if the break were inside a `try`."""
    checked, unchecked = both([(Broken(), torch.ones(2, 4))])
    assert checked.breaks == unchecked.breaks == 1
    assert checked.nodes == unchecked.nodes
    assert len(checked.nodes) == 2
