"""What tinynets accepts and refuses is what jaxtyping and beartype accept and refuse.

Three claims about random functions with random annotations, called with random values:

- ours: a contract function or module accepts a call exactly where `@jaxtyped(typechecker=beartype)` does;
- the fast path alone, with validation silenced, accepts nothing that jaxtyping refuses;
- validation alone, with the fast path switched off, agrees with jaxtyping.

Axes that are module-wide are numbers for jaxtyping, and annotated lines are `isinstance` calls, as it does
not look at lines itself. One difference is allowed: jaxtyping gives up with an AnnotationError where an
expression stands before the name that it reads (`2*a a`), while tinynets may accept.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, Optional, TypedDict, Union

import jaxtyping
import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jaxtyping import AnnotationError, Float, TypeCheckError, jaxtyped
from torch import Tensor, nn

import tinynets as tn
from tinynets._contract.annotations.axes import Axis, AxisKind
from tinynets._contract.codegen import guard_code as accept
from tinynets._contract.codegen import shape_code as shapes
from tinynets._contract.runtime import FunctionContract
from tinynets._contract.toggle import toggle
from tinynets._contract.verdict import validate as validation
from tinynets._torch.tracing import while_tracing

from . import strategies
from .strategies import Call, Hint, Program, Tagged, define, draw_call, draw_contents, programs

FAMILIES = {name: getattr(jaxtyping, name) for name in strategies.FAMILIES}
NAMES: dict[str, Any] = {
    **FAMILIES,
    "Any": Any,
    "OwnArray": strategies.OwnArray,
    "Tagged": Tagged,
    "Tensor": Tensor,
    "beartype": beartype,
    "contract": tn.contract,
    "jaxtyped": jaxtyped,
    "nn": nn,
    "np": np,
}
ACCEPTED, REFUSED, GAVE_UP = "accepted", "refused", "gave up"  # the last: jaxtyping's AnnotationError


def assert_is(value: Any, hint: Any) -> None:
    if not isinstance(value, hint):
        raise TypeCheckError


def verdict_of_oracle(function: Callable[..., Any], arguments: Sequence[Any]) -> str:
    """Call the oracle; of `a//b` with b = 0 jaxtyping makes a refusal or lets the error through."""
    try:
        return verdict(function, arguments)
    except ZeroDivisionError:
        return REFUSED


def verdict(function: Callable[..., Any], arguments: Sequence[Any]) -> str:
    """Call a function; any other error than a refusal is a mismatch of its own and passes through."""
    try:
        function(*arguments)
    except AnnotationError:
        return GAVE_UP
    except TypeCheckError:
        return REFUSED
    return ACCEPTED


def build_ours(program: Program) -> Callable[..., Any]:
    names = define(program.ours(), {**NAMES, "Module": tn.Module})
    if not program.in_module:
        return names["f"]
    model = names["Model"]()
    vars(model).update(strategies.MODULE_AXES)
    return model


def build_oracle(program: Program) -> Callable[..., Any]:
    return define(program.oracle(), {**NAMES, "assert_is": assert_is})["f"]


@pytest.fixture(autouse=True)
def _checks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toggle, "on", while_tracing.ON)
    torch.set_num_threads(1)


def silence_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> list[Exception]:
        return [tn.ContractError("validation is silent")]

    monkeypatch.setattr(FunctionContract, "validate", refuse)


def examples(count: int, *, shrink: bool) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


Agrees = Callable[[str, str], bool]  # (our verdict, jaxtyping's verdict) -> whether the claim holds


def ours_is_the_oracles(ours: str, oracle: str) -> bool:
    return (ours == ACCEPTED) == (oracle == ACCEPTED) or oracle == GAVE_UP


def accepts_no_more(ours: str, oracle: str) -> bool:
    return ours != ACCEPTED or oracle in (ACCEPTED, GAVE_UP)


def count_cases(agrees: Agrees, *, functions: int, calls: int, shrink: bool = True) -> Counter[str]:
    """Compare many calls of many functions.

    Returns:
        How often each verdict was jaxtyping's, how many annotated values were given ("cases"), and how many
        of the calls that jaxtyping accepts we accept ("both accept").
    """
    counts: Counter[str] = Counter()

    @examples(functions, shrink=shrink)
    @given(programs(), st.integers(0, 2**32))
    def compare(program: Program, seed: int) -> None:
        ours, oracle, random = build_ours(program), build_oracle(program), Random(seed)
        for _ in range(calls):
            call = draw_call(program, random)
            arguments = call.arguments(len(program.arguments))
            one, other = verdict(ours, arguments), verdict_of_oracle(oracle, arguments)
            assert agrees(one, other), f"ours {one}, jaxtyping {other}\n{story(program, call)}"
            counts[other] += 1
            counts["cases"] += sum(len(v) if isinstance(v, list) else 1 for v in call.values)
            counts["both accept"] += one == other == ACCEPTED

    compare()
    return counts


def story(program: Program, call: Call) -> str:
    """Say how to repeat a call."""

    def described(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(described, value))}]"
        if isinstance(value, Tensor):
            layout = "" if value.layout is torch.strided else f" {value.layout}"
            return f"{type(value).__name__}({value.dtype}{layout} {list(value.shape)} {value.device})"
        return type(value).__name__

    return f"{program.ours()}called with {', '.join(map(described, call.values))}, flag={call.flag}"


def assert_tells_something(counts: Counter[str]) -> None:
    """A suite whose calls are nearly all accepted, or nearly all refused, would prove little."""
    calls = counts[ACCEPTED] + counts[REFUSED] + counts[GAVE_UP]
    assert counts[ACCEPTED] > 0.15 * calls, counts
    assert counts[REFUSED] > 0.15 * calls, counts
    assert counts[GAVE_UP] < 0.3 * calls, counts


QUICK = {"functions": 12, "calls": 40}
# `TINYNETS_SOUNDNESS=10 pytest tests/contract/test_soundness*.py` runs ten times as many.
FACTOR = int(os.environ.get("TINYNETS_SOUNDNESS", "1"))
THOROUGH = {"functions": 40 * FACTOR, "calls": 60}


def test_accepts_exactly_what_jaxtyping_and_beartype_accept() -> None:
    assert_tells_something(count_cases(ours_is_the_oracles, **QUICK))


def test_the_fast_path_alone_accepts_nothing_that_jaxtyping_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    silence_validation(monkeypatch)
    counts = count_cases(accepts_no_more, **QUICK)
    assert counts["both accept"] > 0.99 * counts[ACCEPTED], counts


@pytest.mark.slow
def test_accepts_exactly_what_jaxtyping_and_beartype_accept_in_many_cases() -> None:
    counts = count_cases(ours_is_the_oracles, **THOROUGH)
    assert_tells_something(counts)
    assert counts["cases"] >= 2_000 * FACTOR, counts


@pytest.mark.slow
def test_the_fast_path_alone_is_sound_in_many_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    silence_validation(monkeypatch)
    counts = count_cases(accepts_no_more, **THOROUGH)
    assert counts["cases"] >= 2_000 * FACTOR, counts
    assert counts["both accept"] > 0.99 * counts[ACCEPTED], counts


@pytest.mark.slow
def test_validation_alone_agrees_with_jaxtyping_in_many_cases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(toggle, "on", while_tracing.VALIDATE_ALL)
    counts = count_cases(ours_is_the_oracles, **THOROUGH)
    assert_tells_something(counts)
    assert counts["cases"] >= 2_000 * FACTOR, counts


# The one difference that is allowed, and its limits


def test_an_expression_may_stand_before_the_name_that_it_reads() -> None:
    @tn.contract
    def ours(wide: Float[Tensor, "2*a"], narrow: Float[Tensor, "a"]) -> None: ...

    @jaxtyped(typechecker=beartype)
    def oracle(wide: Float[Tensor, "2*a"], narrow: Float[Tensor, "a"]) -> None: ...

    fits, odd = (torch.zeros(6), torch.zeros(3)), (torch.zeros(7), torch.zeros(3))
    assert (verdict(ours, fits), verdict(oracle, fits)) == (ACCEPTED, GAVE_UP)
    assert (verdict(ours, odd), verdict(oracle, odd)) == (REFUSED, GAVE_UP)


def test_an_expression_over_a_name_that_broadcasting_left_free_is_given_up_by_both() -> None:
    @tn.contract
    def ours(x: Float[Tensor, "#a"], y: Float[Tensor, "a+1"]) -> None: ...

    @jaxtyped(typechecker=beartype)
    def oracle(x: Float[Tensor, "#a"], y: Float[Tensor, "a+1"]) -> None: ...

    arguments = torch.zeros(1), torch.zeros(2)
    assert verdict(ours, arguments) == verdict(oracle, arguments) == GAVE_UP


# The suite sees mismatches


SEEN = {"functions": 200, "calls": 40, "shrink": False}


@pytest.mark.slow
def test_a_family_with_one_dtype_too_many_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    true = accept.accepted_dtypes
    monkeypatch.setattr(accept, "accepted_dtypes", lambda family: true(family) | {torch.int32})
    with pytest.raises(AssertionError, match="ours accepted, jaxtyping refused"):
        count_cases(accepts_no_more, **SEEN)


@pytest.mark.parametrize("kind", [AxisKind.FIXED, AxisKind.NAMED, AxisKind.EXPRESSION])
def test_a_dropped_comparison_of_the_fast_path_is_seen(
    monkeypatch: pytest.MonkeyPatch, kind: AxisKind
) -> None:
    true = shapes._Writer._wanted

    def careless(self: Any, axis: Axis, size: str) -> str | None:
        wanted = true(self, axis, size)
        return size if axis.kind is kind and wanted is not None else wanted

    monkeypatch.setattr(shapes._Writer, "_wanted", careless)
    with pytest.raises(AssertionError, match="ours accepted, jaxtyping refused"):
        count_cases(accepts_no_more, **SEEN)


@pytest.mark.parametrize("kind", [AxisKind.FIXED, AxisKind.NAMED, AxisKind.EXPRESSION])
def test_a_dropped_comparison_of_validation_is_seen(monkeypatch: pytest.MonkeyPatch, kind: AxisKind) -> None:
    true = validation.known_size

    def careless(axis: Axis, bindings: Any) -> Any:
        return None if axis.kind is kind else true(axis, bindings)

    monkeypatch.setattr(validation, "known_size", careless)
    with pytest.raises(AssertionError, match="ours accepted, jaxtyping refused"):
        count_cases(ours_is_the_oracles, **SEEN)


def test_validation_that_always_refuses_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    silence_validation(monkeypatch)
    monkeypatch.setattr(toggle, "on", while_tracing.VALIDATE_ALL)
    with pytest.raises(AssertionError, match="ours refused, jaxtyping accepted"):
        count_cases(ours_is_the_oracles, **SEEN)


# Containers: beartype looks at one item, so the oracle is our own


def fits(
    hint: Hint, value: Any, classes: Mapping[Hint, type], bound: dict[str, int]
) -> dict[str, int] | None:
    """Say what the axes are after a value was accepted, or None: every item counts, unions take the first."""
    parts: list[tuple[Hint, Any]] = []
    match hint.kind:
        case "array":
            return _array_fits(hint, value, bound)
        case "plain":
            kind = {"int": int, "str": str, "None": type(None), "bool": bool}[hint.family]
            return bound if isinstance(value, kind) else None
        case "optional" | "union":
            if hint.kind == "optional" and value is None:
                return bound
            arms = (fits(part, value, classes, bound) for part in hint.parts)
            return next((after for after in arms if after is not None), None)
        case "list" | "Sequence" | "tuple...":
            kind = {"list": list, "Sequence": Sequence, "tuple...": tuple}[hint.kind]
            if not isinstance(value, kind):
                return None
            parts = [(hint.parts[0], item) for item in value]
        case "dict" | "Mapping":
            if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
                return None
            parts = [(hint.parts[0], item) for item in value.values()]
        case "tuple":
            if not isinstance(value, tuple) or len(value) != len(hint.parts):
                return None
            parts = list(zip(hint.parts, value, strict=True))
        case "TypedDict" | "partial":
            named = {f"f{i}": part for i, part in enumerate(hint.parts)}
            if not isinstance(value, dict) or (hint.kind == "TypedDict" and not named.keys() <= value.keys()):
                return None
            parts = [(part, value[name]) for name, part in named.items() if name in value]
        case _:
            if not isinstance(value, classes[hint]):
                return None
            parts = [(part, getattr(value, f"f{i}")) for i, part in enumerate(hint.parts)]
    after: dict[str, int] | None = bound
    for part, item in parts:
        after = None if after is None else fits(part, item, classes, after)
    return after


def _array_fits(hint: Hint, value: Any, bound: dict[str, int]) -> dict[str, int] | None:
    array = {"Tensor": Tensor, "np.ndarray": np.ndarray, "OwnArray": strategies.OwnArray}[hint.array]
    dtype = str(strategies.DTYPE_OF_FAMILY[hint.family]).removeprefix("torch.")
    if not isinstance(value, array) or str(value.dtype).removeprefix("torch.") != dtype:
        return None
    tokens, shape = list(hint.axes), tuple(value.shape)
    if "..." in tokens:
        at = tokens.index("...")
        tokens[at : at + 1] = ["_"] * (len(shape) - len(tokens) + 1)
    if len(shape) != len(tokens):
        return None
    after = dict(bound)
    for token, size in zip(tokens, shape, strict=True):
        if token == "_" or (token.startswith("#") and size == 1):
            continue
        name = token.lstrip("#")
        if size != (int(name) if name.isdigit() else after.setdefault(name, size)):
            return None
    return after


CONTAINER_NAMES = {
    **NAMES,
    "Mapping": Mapping,
    "NamedTuple": NamedTuple,
    "Optional": Optional,
    "Sequence": Sequence,
    "TypedDict": TypedDict,
    "Union": Union,
    "dataclass": dataclass,
}


def count_containers(*, functions: int, calls: int) -> Counter[str]:
    counts: Counter[str] = Counter()

    @examples(functions, shrink=True)
    @given(strategies.hints(), strategies.hints(), st.integers(0, 2**32))
    def compare(first: Hint, second: Hint, seed: int) -> None:
        sources: dict[Hint, tuple[str, str]] = {}
        one, two = strategies.hint_source(first, sources), strategies.hint_source(second, sources)
        classes_source = "".join(source for _, source in sources.values())
        text = f"{classes_source}@contract\ndef f(x: {one}, y) -> {two}:\n    return y\n"
        names, random = define(text, CONTAINER_NAMES), Random(seed)
        classes = {hint: names[name] for hint, (name, _) in sources.items()}
        for _ in range(calls):
            sizes, spoil = (
                {"a": random.randint(0, 3), "b": random.randint(1, 4)},
                random.choice((0, 0, 0.1, 0.3)),
            )
            x, y = (draw_contents(hint, classes, sizes, random, spoil) for hint in (first, second))
            ours = verdict(names["f"], (x, y))
            bound = fits(first, x, classes, {})
            oracle = REFUSED if bound is None or fits(second, y, classes, bound) is None else ACCEPTED
            assert ours == oracle, f"ours {ours}, oracle {oracle}\n{text}called with {x!r} and {y!r}"
            counts[oracle] += 1
            counts["both accept"] += ours == oracle == ACCEPTED

    compare()
    return counts


def test_every_item_of_a_container_is_checked() -> None:
    assert_tells_something(count_containers(functions=20, calls=40))


def test_the_fast_path_alone_accepts_no_container_with_a_wrong_item(monkeypatch: pytest.MonkeyPatch) -> None:
    silence_validation(monkeypatch)
    counts = count_containers(functions=20, calls=40)
    assert counts["both accept"] == counts[ACCEPTED], counts


def test_validation_alone_checks_every_item_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toggle, "on", while_tracing.VALIDATE_ALL)
    assert_tells_something(count_containers(functions=20, calls=40))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["both", "fast", "validation"])
def test_every_item_of_a_container_is_checked_in_many_calls(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    if path == "fast":
        silence_validation(monkeypatch)
    if path == "validation":
        monkeypatch.setattr(toggle, "on", while_tracing.VALIDATE_ALL)
    counts = count_containers(functions=40 * FACTOR, calls=70)
    assert counts[ACCEPTED] + counts[REFUSED] >= 2_000 * FACTOR, counts


# Kinds of tensors, one by one


@pytest.mark.parametrize("kind", sorted(set(strategies.KINDS)))
def test_every_kind_of_tensor_is_accepted_and_refused(kind: str) -> None:
    @tn.contract
    def double(x: Float[Tensor, "rows 3"], y: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
        return y

    def value(*shape: int) -> Tensor:
        return strategies.tensor(kind, torch.float32, shape)

    double(value(2, 3), value(2, 5))
    double(value(0, 3), value(0, 0))
    for x, y in ((value(2, 4), value(2, 5)), (value(2, 3), value(3, 5)), (value(2, 3), value(2, 5, 1))):
        with pytest.raises(tn.ShapeError):
            double(x, y)


def test_a_nested_tensor_keeps_its_symbolic_size() -> None:
    @tn.contract
    def double(x: Float[Tensor, "batch length 8"]) -> Float[Tensor, "batch length 8"]:
        return x + x

    ragged = torch.nested.nested_tensor([torch.ones(2, 8), torch.ones(3, 8)], layout=torch.jagged)
    double(ragged)
    with pytest.raises(tn.ShapeError):
        double(torch.nested.nested_tensor([torch.ones(2, 7), torch.ones(3, 7)], layout=torch.jagged))
