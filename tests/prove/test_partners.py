"""Other libraries' models: what each of their modules makes is declared as one trace made it, and proved for every batch.

Run where they are installed (`make parity`); `TINYNETS_OVERWRITE=1` writes the table of `docs/prove.md`.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
from jaxtyping import Shaped
from torch import Tensor, nn

import tinynets as tn
from tinynets._prove.prove import prove
from tinynets.inputs.examples import example_arguments

from ..explain.test_partners import ROWS, made

PAGE = Path(__file__).parents[2] / "docs" / "prove.md"
BLOCK = re.compile(r"(?<=<!-- partners: generated -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
HEAD = ("| model | modules declared | verdict | seconds |", "| :-- | --: | :-- | --: |")


def inferred(model: nn.Module, inputs: list[object]) -> dict[str, set[tuple[str, ...] | None]]:
    """Return the shapes that each module made, by its path, in terms of the batch."""
    run = tn.explain(model, *inputs, depth=None, modes=["eval"]).run
    found: dict[str, set[tuple[str, ...] | None]] = {}
    for _, _, line in run.frame.walk():
        for op in line.ops:
            if op.module:
                tensor = len(op.results) == 1 and not op.results[0].label
                found.setdefault(op.module, set()).add(op.results[0].expressions if tensor else None)
    return {path: shapes for path, shapes in found.items() if len(shapes) == 1 and None not in shapes}


def declare(model: nn.Module, shapes: dict[str, set[tuple[str, ...] | None]]) -> int:
    """Annotate what the modules return, and enforce it; return for how many."""
    sizes = SimpleNamespace(batch=0)
    modules = dict(model.named_modules())
    for path, ((shape),) in shapes.items():
        module: Any = modules[path]
        module._declared_sizes = sizes
        axes = " ".join(
            size if size.isdigit() else "{" + re.sub(r"\bbatch\b", "self._declared_sizes.batch", size) + "}"
            for size in shape
        )
        module.forward = MethodType(_declaring(module.forward.__func__, axes), module)
    inner: Any = model.forward.__func__

    def forward(self: Any, *images: Tensor) -> Any:
        self._declared_sizes.batch = images[0].shape[0]
        return inner(self, *images)

    model._declared_sizes = sizes  # type: ignore[assignment]
    model.forward = MethodType(forward, model)
    return len(shapes)


def _declaring(inner: Any, axes: str) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return inner(self, *args, **kwargs)

    forward.__annotations__ = {"return": Shaped[Tensor, axes]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tn.contract(forward)


# The others take lists of images and need values.
SYMBOLIC = [row for row in ROWS if row[3] == "symbolic"]


@pytest.mark.slow
@pytest.mark.parametrize("row", SYMBOLIC, ids=lambda row: f"{row[0]}-{row[2]}")
def test_what_modules_of_others_make_is_proved_for_every_batch(row: Any) -> None:
    library, kind, name = (part.strip() for part in row[:3])
    model, inputs = made(library, kind, name)
    start = time.perf_counter()
    declared = declare(model.eval(), inferred(model, inputs))
    proof = prove(model, example_arguments(model, tuple(inputs), {}))
    verdict = f"proved for every {', '.join(proof.axes)}" if proof.verdict == "proved" else proof.summary
    label = " ".join(filter(None, (library, kind, f"`{name}`")))
    if os.environ.get("TINYNETS_OVERWRITE"):
        write(f"| {label} | {declared} | {verdict[:160]} | {time.perf_counter() - start:.1f} |")
    said = next(line.split("|")[3].strip() for line in rows_of_the_page() if line.startswith(f"| {label} |"))
    assert verdict[:160] == said


def rows_of_the_page() -> list[str]:
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found
    return found[0].splitlines()


def write(made: str) -> None:
    rows = {line.split("|")[1].strip(): line for line in (*rows_of_the_page()[2:], made)}
    text = "\n".join((*HEAD, *rows.values()))
    PAGE.write_text(BLOCK.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def test_the_page_counts_them() -> None:
    proved = [line for line in rows_of_the_page() if line.split("|")[3].strip().startswith("proved")]
    assert f"{len(proved)} of {len(ROWS)}" in PAGE.read_text(encoding="utf-8")
