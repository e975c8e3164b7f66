"""The contract under `torch.export`: checked while exporting, without a trace in the program."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

import tinynets as tn

from . import models
from .models import CASES, Case


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    torch.set_num_threads(1)
    return CASES[request.param]


def export(model: tn.Module, images: Tensor, *, strict: bool) -> ExportedProgram:
    shapes = {"images": {0: Dim("batch", min=1)}}
    return torch.export.export(model, (images,), dynamic_shapes=shapes, strict=strict)


@pytest.mark.parametrize("strict", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_program_is_that_of_the_unchecked_model(case: Case, strict: bool) -> None:
    model = case.make().eval()
    program = export(model, case.valid(), strict=strict)
    with tn.checks(False):
        plain = export(model, case.valid(), strict=strict)
    assert [node.target for node in program.graph.nodes] == [node.target for node in plain.graph.nodes]
    ranges, theirs = program.range_constraints.values(), plain.range_constraints.values()
    assert list(map(str, ranges)) == list(map(str, theirs))


@pytest.mark.parametrize("strict", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_batch_stays_symbolic(case: Case, strict: bool) -> None:
    model = case.make().eval()
    module = export(model, case.valid(), strict=strict).module()
    for batch in (1, 2, 7, 64):
        images = case.valid(batch)
        torch.testing.assert_close(module(images), model(images))


@pytest.mark.parametrize("kind", ["shape", "dtype"])
def test_non_strict_export_of_an_invalid_input_raises_our_own_error(case: Case, kind: str) -> None:
    model = case.make().eval()
    images = case.invalid() if kind == "shape" else case.valid().long()
    error = tn.ShapeError if kind == "shape" else tn.DtypeError
    with pytest.raises(error, match=case.names[0]) as caught:
        export(model, images, strict=False)
    assert caught.value.where == case.names[1]
    assert caught.value.module_path == ""


def test_strict_export_of_an_invalid_input_has_our_text_in_its_message(case: Case) -> None:
    text = rf"{case.names[0]}\.forward: {case.names[1]}: expected float \[batch {case.shape[0]} "
    with pytest.raises(torch._dynamo.exc.Unsupported, match=text):
        export(case.make().eval(), case.invalid(), strict=True)


@pytest.mark.parametrize("strict", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_line_that_does_not_fit_is_refused(case: Case, strict: bool) -> None:
    model = case.make().eval()
    model.num_classes = 99
    error = torch._dynamo.exc.Unsupported if strict else tn.ShapeError
    with pytest.raises(error, match="num_classes"):
        export(model, case.valid(), strict=strict)


def test_the_program_refuses_by_guards_of_its_own(case: Case) -> None:
    """What is exported holds none of our checks; torch guards the sizes that are constants in it."""
    module = export(case.make().eval(), case.valid(), strict=False).module()
    with pytest.raises((AssertionError, RuntimeError), match=r"(size\(\)|shape)\[1\]"):  # torch 2.9; 2.8
        module(case.invalid())


@pytest.mark.slow
@pytest.mark.parametrize("strict", [True, False])
def test_sizes_that_axes_are_computed_from_may_be_dynamic_too(strict: bool) -> None:
    """`height//2` in an annotation neither pins the height nor adds to the program."""
    model = models.PatchNet().eval()
    height = 2 * Dim("half", min=2, max=64)
    shapes = {"images": {0: Dim("batch", min=1), 2: height}}
    images = torch.randn(4, 3, 8, 8)
    program = torch.export.export(model, (images,), dynamic_shapes=shapes, strict=strict)
    with tn.checks(False):
        plain = torch.export.export(model, (images,), dynamic_shapes=shapes, strict=strict)
    assert len(program.graph.nodes) == len(plain.graph.nodes)
    other = torch.randn(2, 3, 12, 8)
    torch.testing.assert_close(program.module()(other), model(other))
