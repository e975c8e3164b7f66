"""How sizes and amounts are written."""

from typing import Any

import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._sympy.functions import FloorDiv, Max, Mod

import tinynets as tn
from tinynets._explain.recording.amounts import amount, human, product
from tinynets._torch.tracing.shape_environment import expression_of, join_floor_divisions
from tinynets.inputs.size_text import axis_text
from tinynets.inputs.symbolic_sizes import Sizes

BATCH, TOKENS = sympy.symbols("batch tokens", integer=True, positive=True)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (784, "784"),
        (sympy.Integer(3), "3"),
        (BATCH, "batch"),
        (784 * BATCH, "784*batch"),
        (2048 * BATCH + 12, "2048*batch+12"),
        (BATCH * (TOKENS - 1), "batch*(tokens-1)"),
        (FloorDiv(TOKENS + 3, 4), "(tokens+3)//4"),
        (FloorDiv(TOKENS, 2) * BATCH, "batch*(tokens//2)"),
        (FloorDiv(FloorDiv(TOKENS - 1, 2) - 1, 2) + 1, "(tokens+1)//4"),
        (FloorDiv(FloorDiv(TOKENS - 1, 2) - 1, BATCH) + 1, "((tokens-3)//(2*batch))+1"),
        (BATCH * (FloorDiv(TOKENS - 1, 8) + 1), "batch*((tokens+7)//8)"),
        (Max(1, TOKENS - 2), "Max(1,tokens-2)"),
        (Mod(TOKENS, 3), "Mod(tokens,3)"),
        (sympy.Symbol("u0", integer=True), "?"),
        (2 * sympy.Symbol("u12", integer=True) + BATCH, "batch+2*?"),
        (sympy.Symbol("u", integer=True), "u"),
    ],
)
def test_sizes_are_written_as_python_without_spaces(size: object, text: str) -> None:
    assert axis_text(size) == text


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 9)), min_size=1, max_size=4), st.integers(-9, 9))
@pytest.mark.slow
def test_rounded_quotients_are_joined_without_changing_them(steps: list[tuple[int, int]], last: int) -> None:
    size: Any = TOKENS
    for number, divisor in steps:
        size = FloorDiv(size + number, divisor)
    joined = join_floor_divisions(size + last)
    for tokens in range(1, 60):
        assert joined.xreplace({TOKENS: sympy.Integer(tokens)}) == (size + last).xreplace(
            {TOKENS: sympy.Integer(tokens)}
        )


@pytest.mark.slow
def test_a_flat_layout_is_seen_whatever_form_its_sizes_have() -> None:
    net = nn.Sequential(*(nn.Conv2d(2, 2, 3, 2, 1) for _ in range(3)), nn.MaxPool2d(2), nn.Flatten())
    lines = tn.explain(net, "batch 2 height width").run.frame.lines
    assert [line.values[0].layout for line in lines] == ["contiguous"] * len(lines)
    assert lines[-2].values[0].shape == ("batch", "2", "(height+7)//16", "(width+7)//16")
    turned = tn.explain(Turned(), "batch 2 height width").run.frame.lines[0].values[0]
    assert turned.layout == "strided"


class Turned(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(x, 2).transpose(2, 3)


@pytest.mark.parametrize(
    ("factors", "formula", "bytes_", "expression"),
    [
        ([[2048]], "2,048", "2 KiB", "2048"),
        ([[1024, "batch"]], "1,024·batch", "1 KiB·batch", "1024*batch"),
        ([[4, "batch"], [-3]], "4·batch - 3", "4 B·batch - 3 B", "4*batch-3"),
        ([[2, "batch", "tokens", "tokens"]], "2·batch·tokens²", "2 B·batch·tokens²", "2*batch*tokens**2"),
        ([["batch"] * 4], "1·batch⁴", "1 B·batch⁴", "batch**4"),
        ([[5, "batch"], [7, "batch"]], "12·batch", "12 B·batch", "12*batch"),
    ],
)
def test_amounts_are_written_for_people(
    factors: list[list[object]], formula: str, bytes_: str, expression: str
) -> None:
    sizes = Sizes(symbolic=True)
    axes = {"batch": sizes.make("batch", 3, leading=True), "tokens": sizes.make("tokens", 5)}
    costs = [product([axes.get(factor, factor) for factor in term]) for term in factors]
    plain, in_bytes = amount(costs, sizes), amount(costs, sizes, unit="B")
    assert (plain.formula, in_bytes.formula, plain.expression) == (formula, bytes_, expression)
    assert plain.value == eval(expression, {"batch": 3, "tokens": 5})


def test_a_sum_is_folded_before_it_is_written() -> None:
    sizes = Sizes(symbolic=True)
    batch = sizes.make("batch", 3)
    assert sizes.make("batch", 3) is batch
    assert axis_text(sizes.resolve(expression_of(batch))) == axis_text(sizes.resolve(batch)) == "batch"


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [
        (1234567, "", "1,234,567"),
        (2.5, "", "2.5"),
        (1023, "B", "1023 B"),
        (1536, "B", "1.5 KiB"),
        (2**50, "B", "1024 TiB"),
    ],
)
def test_numbers_for_people(count: float, unit: str, text: str) -> None:
    assert human(count, unit) == text
