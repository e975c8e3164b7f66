"""Measure the cost per call of each form of annotation, beside jaxtyping (`contract.py --forms`)."""

from __future__ import annotations

from typing import Any, Optional, Union

import numpy as np
import torch
from beartype import beartype
from harness import Spread, Variant, control, difference, interleaved, table
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor

import tinynets as tn


class OwnArray:
    """An array type that neither side knows."""

    def __init__(self) -> None:
        self.shape, self.dtype = (2, 3), np.dtype("float32")


T = Float[Tensor, "b d"]
x = torch.ones(2, 3)
# A row: its label in the table, the hints of one or two arguments, and their values.
FORMS: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    ('`"b d"`', (T,), (x,)),
    ('`"b d"`, bound', (T, T), (x, x)),
    ('`"... #d"`', (Float[Tensor, "... #d"],), (x,)),
    ('`"... #d"`, bound', (Float[Tensor, "... d"], Float[Tensor, "... #d"]), (x, x)),
    ('`"#*b d"`', (Float[Tensor, "#*b d"],), (x,)),
    ('`"#*b d"`, twice', (Float[Tensor, "#*b d"], Float[Tensor, "#*b d"]), (x, x)),
    ("`np.ndarray`", (Float[np.ndarray, "b d"],), (np.ones((2, 3), dtype=np.float32),)),
    ("own array class", (Float[OwnArray, "b d"],), (OwnArray(),)),
    ("`tuple[T, ...]` or `list[T]`, a list of two", (tuple[T, ...] | list[T],), ([x, x],)),
    ("`T` or `tuple[T, T]`, a tensor", (T | tuple[T, T],), (x,)),
    ("`T` or `tuple[T, T]`, a tuple", (T | tuple[T, T],), ((x, x),)),
    ("`T`, `tuple[T, T]` or None, a tuple", (Optional[Union[T, tuple[T, T]]],), ((x, x),)),  # noqa: UP007, UP045
    ("`T`, `tuple[T, T]` or None, None", (Optional[Union[T, tuple[T, T]]],), (None,)),  # noqa: UP007, UP045
]
LEAST = 3  # each form must be this many times cheaper
PLAIN, OURS, THEIRS = "nothing", "tinynets", "jaxtyped + beartype"


def functions(hints: tuple[Any, ...]) -> list[Variant]:
    """Return a function that does nothing: unchecked, and checked by either library."""

    def one(x: Any) -> None:
        pass

    def two(x: Any, y: Any) -> None:
        pass

    bare = one if len(hints) == 1 else two
    bare.__annotations__ |= dict(zip("xy", hints, strict=False))
    checked = [Variant(OURS, tn.contract(bare)), Variant(THEIRS, jaxtyped(typechecker=beartype)(bare))]
    for side in checked:
        try:
            side.call(*["no array"] * len(hints))
        except TypeCheckError:
            continue
        raise AssertionError(f"{side.name} does not check {hints}")
    return [Variant(PLAIN, bare), *checked]


def compare_forms(rounds: int) -> dict[str, Any]:
    """Print the extra cost of a call over an unchecked one, for each form."""
    record: dict[str, Any] = {}
    rows: list[list[str]] = []
    for name, hints, values in FORMS:
        seconds = interleaved(functions(hints), *values, rounds=rounds, milliseconds=1)
        ours, theirs = (difference(seconds, side, PLAIN).scaled(1e6) for side in (OURS, THEIRS))
        times = Spread.of(
            [
                (jaxtyping - bare) / (tinynets - bare)
                for jaxtyping, tinynets, bare in zip(
                    seconds[THEIRS], seconds[OURS], seconds[PLAIN], strict=True
                )
            ]
        )
        print(f"{name}: {control(seconds, PLAIN)}")
        record[name] = {OURS: ours.record(), THEIRS: theirs.record(), "times cheaper": times.record()}
        verdict = "ok" if times.median >= LEAST else "missed"
        rows.append([name, ours.text(2), theirs.text(1), times.text(1), verdict])
    header = ["microseconds a call more than unchecked", OURS, THEIRS, "times cheaper", f"bar: {LEAST}"]
    print(f"\n{table(header, rows)}\n")
    return record
