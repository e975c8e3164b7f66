"""Compiled functions accept and refuse what eager ones do, and what jaxtyping and beartype do.

With `fullgraph=True`, so that a valid call which only validation would accept is a mismatch too.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import AnnotationError
from torch import Tensor
from torch._subclasses import FakeTensor

from tinynets._contract.codegen import guard_code

from .strategies import Call, Program, draw_call, programs
from .test_soundness import (
    ACCEPTED,
    GAVE_UP,
    REFUSED,
    build_oracle,
    build_ours,
    examples,
    story,
    verdict,
    verdict_of_oracle,
)

# `TINYNETS_SOUNDNESS=10 pytest tests/contract/test_soundness*.py` runs ten times as many.
FACTOR = int(os.environ.get("TINYNETS_SOUNDNESS", "1"))
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool)


pytestmark = pytest.mark.usefixtures("fresh_dynamo")


def verdict_compiled(function: Callable[..., Any], arguments: Sequence[Any]) -> str:
    def whole(one: Tensor, *arguments: Any) -> Tensor:
        function(*arguments)
        return one + 1  # a graph without an operation would not be compiled

    torch._dynamo.reset()
    try:
        torch.compile(whole, backend="eager", fullgraph=True)(torch.ones(1), *arguments)
    except AnnotationError:
        return GAVE_UP
    except torch._dynamo.exc.Unsupported as error:
        if "expected" not in str(error):
            raise  # not our text
        return REFUSED
    return ACCEPTED


def dynamo_takes(call: Call) -> bool:
    """Whether all values are of kinds that dynamo has no trouble with of its own."""
    values = [v for value in call.values for v in (value if isinstance(value, list) else [value])]
    tensors = [v for v in values if isinstance(v, Tensor)]
    names = [str(v.dtype) for v in values if isinstance(v, np.ndarray)]
    return {*names} <= {str(dtype).removeprefix("torch.") for dtype in DTYPES} and all(
        v.layout is torch.strided
        and v.device.type == "cpu"
        and v.dtype in DTYPES
        and not isinstance(v, FakeTensor)
        and type(v) in (Tensor, torch.nn.Parameter)
        for v in tensors
    )


def count_cases(*, functions: int, calls: int, shrink: bool = True) -> Counter[str]:
    counts: Counter[str] = Counter()

    @examples(functions, shrink=shrink)
    @given(programs(), st.integers(0, 2**32))
    def compare(program: Program, seed: int) -> None:
        ours, oracle, random = build_ours(program), build_oracle(program), Random(seed)
        tried = 0
        for _ in range(40):
            call = draw_call(program, random)
            arguments = call.arguments(len(program.arguments))
            if tried == calls or not dynamo_takes(call):
                continue
            expected = verdict_of_oracle(oracle, arguments)
            if expected == ACCEPTED and counts[ACCEPTED] > 2 * counts[REFUSED]:
                continue
            tried += 1
            compiled, eager = verdict_compiled(ours, arguments), verdict(ours, arguments)
            agree = (compiled == ACCEPTED) == (eager == ACCEPTED)
            agree = agree and (expected == GAVE_UP or (eager == ACCEPTED) == (expected == ACCEPTED))
            assert agree, f"compiled {compiled}, eager {eager}, jaxtyping {expected}\n{story(program, call)}"
            counts[expected] += 1

    compare()
    return counts


@pytest.mark.slow
def test_compiled_eager_and_jaxtyping_agree() -> None:
    counts = count_cases(functions=16, calls=3)
    assert counts[ACCEPTED] > 3, counts
    assert counts[REFUSED] > 3, counts


@pytest.mark.slow
def test_compiled_eager_and_jaxtyping_agree_in_many_cases() -> None:
    counts = count_cases(functions=50 * FACTOR, calls=4)
    assert min(counts[ACCEPTED], counts[REFUSED]) > 8 * FACTOR, counts


def test_a_form_without_a_guard_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_code, "write_shape_guard", lambda *_args, **_options: None)
    with pytest.raises(AssertionError, match="compiled refused, eager accepted"):
        count_cases(functions=5, calls=3, shrink=False)
