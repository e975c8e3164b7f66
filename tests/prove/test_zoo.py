"""The zoo is proved for every batch and every image that `docs/models.md` says it takes.

`TINYNETS_ALL=1 TINYNETS_OVERWRITE=1 pytest tests/prove/test_zoo.py` proves every name, and writes the table of
`docs/prove.md`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tinynets._prove.proof import Proof
from tinynets._prove.prove import prove
from tinynets.inputs.examples import example_arguments
from tinynets.models import create_model, list_models
from tinynets.models.registry import MODELS

from ..zoo_names import SWEPT

PAGE = Path(__file__).parents[2] / "docs" / "prove.md"


def proof_of(name: str) -> Proof:
    model = create_model(name)
    return prove(model, example_arguments(model, (), {}))


def claimed(name: str) -> tuple[str, ...]:
    """Return the conditions that the list of models states: `any >= 9`."""
    sizes = MODELS[name].sizes
    any_size = hasattr(create_model(name), "image_size") is False and len(sizes[:2]) > 1
    return tuple(f"{axis} >= {sizes[0]}" for axis in ("height", "width") if any_size and sizes[0] > 2)


HEAD = ("| name | lines | proved for every | where | run besides |", "| :-- | --: | :-- | :-- | :-- |")


def row(name: str, proof: Proof) -> str:
    """Lay out what is proved of a name, and the sizes of 0 and 1 for which it was run and held."""
    assert proof.verdict == "proved", proof.to_text()
    ran = "; ".join(attempt.sizes for attempt in proof.small if attempt.outcome == "holds")
    where = ", ".join(f"`{text}`" for text in proof.conditions) or "-"
    return f"| `{name}` | {len(proof.lines)} | {', '.join(proof.axes)} | {where} | {ran} |"


BLOCK = re.compile(r"(?<=<!-- proofs: generated -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def rows_of_the_page() -> list[str]:
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found
    return found[0].splitlines()


def write(made: str) -> None:
    """Put a row into the page, in the order of the list of models."""
    rows = {line.split("|")[1].strip(" `"): line for line in (*rows_of_the_page()[2:], made)}
    ordered = "\n".join((*HEAD, *(rows[name] for name in list_models() if name in rows)))
    PAGE.write_text(BLOCK.sub(lambda _: ordered, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEPT)
def test_what_is_claimed_of_a_name_is_proved(name: str) -> None:
    proof = proof_of(name)
    assert proof.conditions == claimed(name)
    assert "batch" in proof.axes
    for attempt in proof.small:  # one image, none, and one pixel where that is claimed
        pixels = "height" in attempt.sizes or "width" in attempt.sizes
        expected = "refused" if pixels and MODELS[name].sizes[0] > 1 else "holds"
        assert (attempt.sizes, attempt.outcome) == (attempt.sizes, expected)
    if os.environ.get("TINYNETS_OVERWRITE"):
        write(row(name, proof))
    assert row(name, proof) in rows_of_the_page()


def test_the_page_has_every_name() -> None:
    names = [f"`{name}`" for name in list_models()]
    assert [line.split("|")[1].strip() for line in rows_of_the_page()[2:]] == names
