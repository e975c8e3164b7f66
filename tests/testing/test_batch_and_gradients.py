"""What the checks of batches and gradients say where there is nothing to find, and what they share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets.testing.measure.input_gradients import slices
from tinynets.testing.report.report import Report

ROWS = torch.linspace(-1, 1, 18).reshape(3, 6)


def report(model: nn.Module, *inputs: object, **options: object) -> Report:
    return tn.testing.check_model(
        model, *(inputs or (ROWS,)), groups=("batch", "gradients"), on_fail="collect", **options
    )


class Head(nn.Module):
    """A linear layer that starts at zero, with something behind it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x):
        return self.behind(self.linear(self.before(x)))

    def before(self, x):
        return x

    def behind(self, x):
        return x


class LeaksBeforeAZeroHead(Head):
    def before(self, x):
        return x - x.mean(0)


class TakesThree(Head):
    def before(self, x):
        return x.reshape(3, 6)


class RefusesNaN(Head):
    def before(self, x):
        if x.isnan().any():
            raise ValueError("NaN")
        return x


class Constant(Head):
    def behind(self, x):
        return x.detach() * 0


class Drops(Head):
    def before(self, x):
        return nn.functional.dropout(x, 0.5)


class Sums(Head):
    def behind(self, x):
        return x.sum()


MODES: list[bool] = []  # no attribute of the model, which would be put back


class Counts(Head):
    def before(self, x):
        MODES.append(self.training)
        return x


@pytest.mark.parametrize(
    ("model", "check", "note"),
    [
        (TakesThree(), "batch.neighbour", "the model does not take 3 and 2 samples alike"),
        (TakesThree(), "batch.subset", "the model does not take one sample: see batch.sizes[1]"),
        (RefusesNaN(), "batch.nan", "the model refuses a NaN"),
        (Constant(), "batch.neighbour", "every sample gives the same output"),
        (Constant(), "batch.gradient", "no output carries a gradient"),
        (Constant(), "gradients.input", "no output carries a gradient"),
        (Drops(), "batch.permute", "the model draws random numbers in eval mode"),
        (Sums(), "batch.neighbour", "no output has an axis that follows the batch size"),
        (nn.ReLU(), "gradients.reach", "no parameter requires a gradient"),
        (Head(), "gradients.overfit", "needs a loss"),
        (Head(), "batch.causal", "no output has 6 steps along axis 1"),
        (Head(), "batch.padding", "which argument is the mask?"),
    ],
)
def test_a_check_that_cannot_see_anything_says_so(model: nn.Module, check: str, note: str):
    asked = {check} & {"gradients.overfit", "batch.causal", "batch.padding"}
    result = report(model, supports=asked)[check]
    assert result.status == "skipped"
    assert note in result.message


def test_integers_have_no_gradient():
    found = report(nn.Embedding(9, 4), torch.arange(9).reshape(3, 3))
    assert {r.id for r in found.with_status("skipped") if "integers" in r.message} == {
        "batch.gradient",
        "batch.nan",
        "gradients.input",
    }


def test_a_head_that_starts_at_zero_hides_no_leak_and_raises_no_alarm():
    assert report(Head()).counts.keys() <= {"passed", "skipped"}
    leaks = report(LeaksBeforeAZeroHead())
    assert [result.id for result in leaks.with_status("failed")] == ["batch.neighbour"]
    assert leaks.followers("batch.neighbour") == ["batch.gradient", "batch.nan", "batch.subset"]


def test_the_model_is_trained_once_for_all_checks_of_gradients():
    ids = ("reach", "zero", "ddp", "finite", "scale")
    others = {r.id: "not now" for r in report(Head()) if r.id.removeprefix("gradients.") not in ids}
    MODES.clear()
    report(Counts(), skip=others)
    assert MODES.count(True) == 3


def test_what_only_random_choices_leave_out_is_not_dead():
    result = report(nn.AdaptiveMaxPool2d(1), torch.randn(2, 3, 9, 9))["gradients.input"]
    assert result.status == "passed"
    assert result.message.endswith("elements of the input had no gradient yet after 96 samples")


def mask(*shape: int, dead: tuple[tuple[int | slice, ...], ...]) -> torch.Tensor:
    found = torch.zeros(shape, dtype=torch.bool)
    for part in dead:
        found[part] = True
    return found


ALL = slice(None)


@pytest.mark.parametrize(
    ("dead", "batch_axis", "expected"),
    [
        (mask(4, dead=()), 0, []),
        (mask(4, dead=((ALL,),)), 0, ["all of x"]),
        (mask(4, dead=((2,),)), 0, ["x[:, 2]"]),
        (mask(4, dead=((2,),)), None, ["x[2]"]),
        (mask(3, 4, dead=((ALL, 3),)), 1, ["x[:, :, 3]"]),
        (mask(3, 8, 8, dead=((ALL, slice(6, 8)), (1,))), 0, ["x[:, 1, :, :]", "x[:, :, 6:8, :]"]),
        (mask(8, dead=((slice(0, 2),), (slice(6, 8),))), 0, ["x[:, 0:2]", "x[:, 6:8]"]),
        (mask(8, dead=((slice(1, None, 2),),)), 0, ["x[:, 1::2]"]),
        (mask(9, dead=((slice(1, 6, 2),),)), 0, ["x[:, 1:6:2]"]),
        (mask(3, 8, 8, dead=((0, slice(2, 4), 5),)), 0, ["x[:, 0, 2:4, 5]"]),
        (mask(4, 4, dead=((0, 0), (1, 2))), 0, ["2 elements within x[:, 0:2, 0:3]"]),
    ],
)
def test_dead_elements_are_named_as_slices(dead: torch.Tensor, batch_axis: int | None, expected: list[str]):
    assert slices("x", dead, batch_axis) == expected


def test_a_number_in_the_error_is_called_the_batch_size_only_if_other_sizes_break():
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4, track_running_stats=False)

        def forward(self, x):
            return self.norm(x)

    found = tn.testing.check_model(Narrow, "batch 4", groups=["batch"], on_fail="collect")["batch.sizes[1]"]
    assert "Expected more than 1 value per channel" in found.failure.what
    assert found.failure.cause == ""
