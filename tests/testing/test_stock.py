"""The good side: torch's own modules, and every objection to one of them with its reason.

A reason is an exemption, so it is held from both sides: what is not listed fails the test, and so does what
is listed and is not flagged any more.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm

import tinynets as tn
from tinynets.testing import Exemption, ModelCheck
from tinynets.testing.report.report import Report


@dataclass(frozen=True)
class Stock:
    """A module of torch.

    Args:
        label: its name.
        make: the factory.
        inputs: as `check_model` takes them.
        flags: the checks that object to it, rightly, and why.
    """

    label: str
    make: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    flags: dict[str, str | Exemption] = field(default_factory=dict)


def old_norm(norm: Callable[..., Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return norm(nn.Linear(6, 5))


RETURNS_ITS_INPUT = {"purity.alias": "what it has nothing to do to, it returns as it is"}
NO_DYNAMO = {
    "transforms.compile": Exemption("Dynamo leaves recurrent layers out", match="does not support RNN, GRU")
}
SEQUENCE = ("batch 5 8",)

MODULES = [
    Stock("Linear", partial(nn.Linear, 6, 5), ("batch 6",)),
    Stock("Bilinear", partial(nn.Bilinear, 3, 4, 5), ("batch 3", "batch 4")),
    Stock("Embedding", partial(nn.Embedding, 7, 5), ("int64[batch 6]",)),
    Stock("EmbeddingBag", partial(nn.EmbeddingBag, 7, 5), ("int64[batch 6]",)),
    Stock("Conv1d", partial(nn.Conv1d, 3, 4, 3), ("batch 3 8",)),
    Stock("Conv2d", partial(nn.Conv2d, 3, 4, 3), ("batch 3 8 8",)),
    Stock("Conv3d", partial(nn.Conv3d, 3, 4, 3), ("batch 3 5 5 5",)),
    Stock("ConvTranspose2d", partial(nn.ConvTranspose2d, 3, 4, 2, stride=2), ("batch 3 5 5",)),
    Stock("BatchNorm1d", partial(nn.BatchNorm1d, 5), ("batch 5 7",)),
    Stock("BatchNorm2d", partial(nn.BatchNorm2d, 3), ("batch 3 5 5",)),
    Stock("LayerNorm", partial(nn.LayerNorm, 6), ("batch 5 6",)),
    Stock("GroupNorm", partial(nn.GroupNorm, 2, 4), ("batch 4 5 5",)),
    Stock("InstanceNorm2d", partial(nn.InstanceNorm2d, 3), ("batch 3 5 5",)),
    Stock("RMSNorm", partial(nn.RMSNorm, 6), ("batch 5 6",)),
    Stock(
        "LocalResponseNorm",
        partial(nn.LocalResponseNorm, 2),
        ("batch 4 5 5",),
        {"dtype.bfloat16": Exemption("it averages by avg_pool3d", match='"avg_pool3d_out_frame" not impl')},
    ),
    Stock("PReLU", nn.PReLU, ("batch 5",)),
    Stock("GELU", nn.GELU, ("batch 5",)),
    Stock("RReLU", nn.RReLU, ("batch 5",)),
    Stock("Softmax", partial(nn.Softmax, dim=-1), ("batch 5",)),
    Stock(
        "ReLU(inplace=True)",
        partial(nn.ReLU, inplace=True),
        ("batch 5",),
        {
            "purity.inputs": "it is asked to write into its input",
            "purity.alias": "its output is its input",
        },
    ),
    Stock("Dropout", nn.Dropout, ("batch 5",), {**RETURNS_ITS_INPUT}),
    Stock("AlphaDropout", nn.AlphaDropout, ("batch 5",), {**RETURNS_ITS_INPUT}),
    Stock("MaxPool2d", partial(nn.MaxPool2d, 2), ("batch 3 6 6",)),
    Stock("AdaptiveAvgPool2d", partial(nn.AdaptiveAvgPool2d, 1), ("batch 3 6 6",)),
    Stock(
        "FractionalMaxPool2d",
        partial(nn.FractionalMaxPool2d, 2, output_size=3),
        ("batch 3 7 7",),
        {
            "modes.deterministic": Exemption(
                "it draws its regions, in eval mode too", match="eval call draws from the random generator"
            )
        },
    ),
    Stock("Upsample", partial(nn.Upsample, scale_factor=2), ("batch 3 5 5",)),
    Stock("PixelShuffle", partial(nn.PixelShuffle, 2), ("batch 4 3 3",)),
    Stock("ZeroPad2d", partial(nn.ZeroPad2d, 1), ("batch 3 4 4",)),
    Stock("Flatten", nn.Flatten, ("batch 3 4",), {"purity.alias": "its output is a view of its input"}),
    Stock("Identity", nn.Identity, ("batch 5",), {**RETURNS_ITS_INPUT}),
    Stock("CosineSimilarity", nn.CosineSimilarity, ("batch 5", "batch 5")),
    Stock("MultiheadAttention", partial(nn.MultiheadAttention, 8, 2, batch_first=True), SEQUENCE * 3),
    Stock(
        "TransformerEncoderLayer", partial(nn.TransformerEncoderLayer, 8, 2, 16, batch_first=True), SEQUENCE
    ),
    Stock(
        "TransformerDecoderLayer",
        partial(nn.TransformerDecoderLayer, 8, 2, 16, batch_first=True),
        (*SEQUENCE, "batch 4 8"),
    ),
    Stock(
        "Transformer",
        partial(nn.Transformer, 8, 2, 1, 1, 16, batch_first=True),
        (*SEQUENCE, "batch 4 8"),
    ),
    Stock("LSTM", partial(nn.LSTM, 4, 5, batch_first=True), ("batch 6 4",), {**NO_DYNAMO}),
    Stock("GRU", partial(nn.GRU, 4, 5, batch_first=True), ("batch 6 4",), {**NO_DYNAMO}),
    Stock("RNN", partial(nn.RNN, 4, 5, batch_first=True), ("batch 6 4",), {**NO_DYNAMO}),
    Stock(
        "LSTMCell",
        partial(nn.LSTMCell, 4, 5),
        ("batch 4",),
        {"gradients.zero": Exemption("one step, and what it recalls is 0", match="`weight_hh`")},
    ),
    Stock(
        "weight_norm(Linear)",
        partial(old_norm, old_weight_norm),
        ("batch 6",),
        {"state.deepcopy": Exemption("keeps a tensor with a graph as an attribute", match="`weight`")},
    ),
    Stock(
        "spectral_norm(Linear)",
        partial(old_norm, old_spectral_norm),
        ("batch 6",),
        {"purity.attributes": Exemption("computes its weight anew in each call", match="weight: other")},
    ),
    Stock(
        "parametrizations.spectral_norm(Linear)",
        lambda: parametrizations.spectral_norm(nn.Linear(6, 5)),
        ("batch 6",),
    ),
]
# One of a kind, and what is flagged.
QUICK = {
    "Linear",
    "Embedding",
    "Conv2d",
    "BatchNorm2d",
    "LayerNorm",
    "ReLU(inplace=True)",
    "Dropout",
    "Flatten",
    "LSTM",
}
SLOW = {
    check.id
    for check in tn.testing.list_checks()
    if isinstance(check, ModelCheck) and check.slow and not check.opt_in
}


def checked(stock: Stock, flags: dict[str, str | Exemption], **options: Any) -> Report:
    return tn.testing.check_model(
        stock.make, *stock.inputs, expected_failures=flags, on_fail="collect", **options
    )


def assert_as_listed(report: Report) -> None:
    objections = report.with_status("failed", "warned", "xpassed")
    assert not objections, "\n\n".join(f"{result.id}: {result.message}" for result in objections)


@pytest.mark.parametrize(
    "stock",
    [each if each.label in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in MODULES],
    ids=lambda stock: stock.label,
)
def test_objections_to_a_module_of_torch_are_those_listed(stock: Stock):
    report = checked(stock, {id: reason for id, reason in stock.flags.items() if id not in SLOW})
    assert_as_listed(report)
    assert report.counts["passed"] >= 40


@pytest.mark.slow
@pytest.mark.parametrize("stock", MODULES, ids=lambda stock: stock.label)
def test_objections_of_the_slow_checks_are_those_listed(stock: Stock):
    flags = {id: reason for id, reason in stock.flags.items() if id in SLOW}
    assert_as_listed(checked(stock, flags, slow=True, checks=sorted(SLOW)))
