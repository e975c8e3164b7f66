"""A condition that is said to hold for every size does, far beyond the sizes that were tried."""

from __future__ import annotations

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils._sympy.functions import FloorDiv, Max, Min, Mod, PythonMod

from tinynets._prove.conditions import condition, described_sizes, needed, together
from tinynets._prove.coverage import Coverage
from tinynets._prove.size_arithmetic import growth

H, W, B = sympy.symbols("height width batch", integer=True, positive=True)


def sizes(depth: int = 3) -> st.SearchStrategy[sympy.Expr]:
    numbers = st.integers(-9, 9).map(sympy.Integer)
    leaves = st.just(H) | numbers
    if not depth:
        return leaves
    below = sizes(depth - 1)
    return st.one_of(
        leaves,
        st.builds(lambda a, b: a + b, below, below),
        st.builds(lambda a, n: a * n, below, st.integers(-3, 3)),
        st.builds(FloorDiv, below, st.integers(2, 5)),
        st.builds(PythonMod, below, st.integers(2, 5)),  # Mod takes nothing negative
        st.builds(Max, below, below),
        st.builds(Min, below, below),
    )


@settings(max_examples=60, deadline=None)
@given(sizes(), sizes(), st.sampled_from([sympy.Eq, sympy.Ne, sympy.Ge, sympy.Lt]))
def test_what_repeats_is_decided_by_the_sizes_up_to_there(left, right, relation) -> None:
    expression = relation(left, right)
    if expression in (sympy.true, sympy.false) or not expression.free_symbols:
        return
    found = condition(expression)
    if not found.decided:
        return
    until = found.until("height")
    for size in range(until, until + 3 * found.period + 40):
        start = max(2, found.start)
        alike = start + (size - start) % found.period
        assert found.holds({"height": size}) == found.holds({"height": alike}), expression


@settings(max_examples=60, deadline=None)
@given(sizes())
@example(Min(H, Max(-1, 2, evaluate=False)))
def test_a_size_stays_as_near_to_its_line_as_is_said(size) -> None:
    line = growth(size)
    if line is None or size.is_Integer:
        return
    for height in range(max(2, line.start), max(2, line.start) + 60, 7):
        beside = size.subs(H, height) - line.slope.numerator * sympy.Rational(height, line.slope.denominator)
        # `doit`, since `subs` leaves a maximum of numbers as it is
        assert line.low <= sympy.Rational(beside.doit()) <= line.high, (size, height)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (H >= 9, "height >= 9"),
        (H <= 512, "height <= 512"),
        (sympy.Eq(Mod(H, 4), 0), "height % 4 == 0"),
        (sympy.Eq(4 * FloorDiv(H, 4), H), "height % 4 == 0"),
        (sympy.Ne(Mod(H, 2), 0), "height % 2 == 1"),
        (sympy.Eq(H, 32), "height == 32"),
        (sympy.Ne(H, 32), "height != 32"),
        (sympy.Ne(FloorDiv(H - 1, 8) + 1, 1), "height >= 9"),
        (sympy.Eq(H, W), "height == width"),
        (sympy.Ge(H * W, 100), "height*width >= 100"),
    ],
)
def test_conditions_are_in_the_names_of_the_axes(expression, text: str) -> None:
    (found,) = needed([expression])
    assert found.text == text


def test_conditions_that_always_hold_are_none() -> None:
    always = [
        sympy.Eq(FloorDiv(FloorDiv(FloorDiv(H - 3, 2) - 1, 2) - 1, 2) + 1, FloorDiv(H - 1, 8)),
        sympy.Eq(H * FloorDiv(W - 1, 2) + H, H * FloorDiv(W + 1, 2)),
        sympy.Ne(H, 1),
        sympy.Gt(3 * H * W, 1),
        sympy.Ne((FloorDiv(H - 1, 2) + 2) * W, 1),
    ]
    assert needed(always) == []
    assert not condition(sympy.Eq(FloorDiv(H, 2), FloorDiv(H + 1, 2))).always
    assert not condition(sympy.Ne(FloorDiv(H, 2) * W, 2)).always  # wrong for 2 and 2
    assert not condition(sympy.Eq(FloorDiv(H, 1000) + H, H)).always  # wrong from 1000 on


def test_a_product_of_quotients_is_a_condition_on_each_axis() -> None:
    whole = sympy.Eq(3 * B * H * W, 48 * B * FloorDiv(H, 4) * FloorDiv(W, 4))
    assert together(needed([whole])) == ["height % 4 == 0", "width % 4 == 0"]
    (other,) = needed([sympy.Not(whole)])
    assert other.decided
    # Here the right side may be the larger one, so nothing follows for the axes by themselves.
    (kept,) = needed([sympy.Eq(3 * B * H * W, 48 * B * FloorDiv(H + 3, 4) * FloorDiv(W, 4))])
    assert not kept.decided


def test_sizes_without_a_simple_rule_are_not_described() -> None:
    assert described_sizes("height", [4, 5, 9], 20) is None
    assert described_sizes("height", [4, 8, 12, 16, 20], 21) == ["height % 4 == 0"]


def test_a_size_in_no_region_is_found_until_there_is_none() -> None:
    coverage = Coverage({"height": 32, "width": 32})
    assert coverage.uncovered() == {"height": 32, "width": 32}
    coverage.add([sympy.Eq(Mod(H, 2), 0), W >= 9], holds=True)
    assert coverage.uncovered() in ({"height": 33, "width": 32}, {"height": 31, "width": 32})
    coverage.add([sympy.Ne(Mod(H, 2), 0)], holds=True)
    assert coverage.uncovered() == {"height": 32, "width": 8}
    assert not coverage.complete
    coverage.add([W < 9], holds=False)
    assert coverage.uncovered() is None
    assert coverage.complete


def test_periods_of_several_conditions_meet() -> None:
    coverage = Coverage({"height": 32})
    for remainder in range(6):  # all but multiples of 7
        coverage.add([sympy.Eq(Mod(H, 7), remainder + 1)], holds=True)
    coverage.add([sympy.Ne(Mod(H, 11), 0)], holds=True)
    at = coverage.uncovered()
    assert at is not None
    assert at["height"] % 77 == 0
    assert not coverage.complete


def test_what_one_pass_says_of_two_axes_leaves_the_other_side_open() -> None:
    coverage = Coverage({"height": 32, "width": 32})
    coverage.add([sympy.Eq(H, W)], holds=True)
    assert coverage.uncovered() is not None
    assert not coverage.complete
    coverage.add([sympy.Ne(H, W)], holds=True)
    assert coverage.complete
