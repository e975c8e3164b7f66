"""Reads of attributes are counted in the source; without source, names in the code have to do."""

from __future__ import annotations

import importlib.util
from collections import Counter

import torch.nn.functional as F
from torch import Tensor, nn

from tinynets.modes.train_sensitivity import attribute_reads, train_behaviour


class Reads(nn.Module):
    p = rate = 0.0

    def forward(this, x: Tensor) -> Tensor:  # noqa: N805
        """Not self.training."""
        y = [F.dropout(z, this.p, this.training) for z in (x, x)]
        this.seen = (lambda: this.p)()
        return super().forward(y[0]) if x.training or this.head.training else y[0].this


def test_reads_are_counted() -> None:
    assert attribute_reads(Reads.forward) == Counter(training=3, p=2, forward=1, head=1)


class OddlyLaidOut(nn.Module):
    text = """
a string at the margin
"""

    def forward(
        self,
        x: Tensor,
    ) -> Tensor:
        text = """
at the margin
"""
        return x if self.training else x * len(text)


def test_a_string_at_the_margin() -> None:
    assert attribute_reads(OddlyLaidOut.forward) == Counter(training=1)


def test_a_lambda_has_no_definition_of_its_own() -> None:
    class Lambda(nn.Module):
        forward = lambda self, x: x if self.training else self.other(x)  # noqa: E731

    assert attribute_reads(Lambda.forward) == Counter(training=1, other=1)
    assert train_behaviour(Lambda()) == "reads self.training"


def test_a_file_that_was_edited_after_it_was_imported(tmp_path) -> None:
    path = tmp_path / "edited.py"
    text = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return {}\n"
    path.write_text(text.format("x if self.training else -x"))
    spec = importlib.util.spec_from_file_location("edited", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path.write_text(text.format("self.nothing(self.of_the_kind)"))
    assert train_behaviour(module.Net()) == "reads self.training"


def test_a_method_of_something_else_is_not_followed() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Identity()

        def reset(self) -> bool:
            return self.training

        def forward(self, x: Tensor) -> Tensor:
            self.other.reset()
            return x

    assert train_behaviour(Net()) is None
