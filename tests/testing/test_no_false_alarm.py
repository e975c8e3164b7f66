"""What looks like a bug and is none: each of these once made a check object, or break."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import tinynets as tn
from tinynets.testing import Exemption, check_model
from tinynets.testing.measure.compare import Leaf
from tinynets.testing.report.results import Status


class Versioned(nn.Module):
    """Refuses a state dict without its metadata, as torchvision's MNASNet does."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: dict[str, Any], *rest: Any) -> None:
        if metadata.get("version") != 2:
            raise ValueError("version should be 2")
        super()._load_from_state_dict(state, prefix, metadata, *rest)


class KeepsACount(Versioned):
    """Saves something that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 7}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"steps": 7}


class NormalisesFewValues(nn.Module):
    """Ends at one pixel, where batches of four leave batch norms four values to normalise: a small MobileNet."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(24)]
        self.body = nn.Sequential(nn.Conv2d(3, 8, 1), *[layer for block in blocks for layer in block])
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class AsksForGradients(nn.Module):
    """Lets its input carry a gradient in training, and refuses one that does: a Wav2Vec2."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        if self.training:
            x.requires_grad = True
        return checkpoint(self.linear, x, use_reentrant=False)


class StartsAsItsInput(nn.Module):
    """A branch that ends with a zero, so that nothing in it makes a difference yet: a SwinV2-CR of timm."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(6))
        self.norm = nn.LayerNorm(6)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(x * self.table)


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (StartsAsItsInput, "runs.buffers"),
        (AsksForGradients, "gradients.recompute"),
        (Versioned, "purity.live_weights"),
        (Versioned, "state.roundtrip"),
        (KeepsACount, "purity.live_weights"),
        (KeepsACount, "state.roundtrip"),
    ],
)
def test_it_passes(make: Callable[[], nn.Module], check: str):
    result = check_model(make, "batch 6", groups=[check.partition(".")[0]], on_fail="collect")[check]
    assert result.status is Status.PASSED, result.message


def test_safetensors_has_no_metadata_so_this_one_is_right():
    lost = {"state.safetensors": Exemption("the version is not saved", match="version should be 2")}
    check_model(Versioned, "batch 6", groups=["state"], expected_failures=lost)


def test_large_gradients_behind_a_batch_norm_of_few_values_are_not_judged():
    few = check_model(NormalisesFewValues, "batch 3 1 1", groups=["gradients"], seed=1)["gradients.scale"]
    assert few.status is Status.SKIPPED, few.message
    assert few.note.startswith("gradients are large where `body.")
    assert few.note.endswith("(BatchNorm2d) normalises over 4 values of each channel: try larger inputs")


def test_they_are_judged_where_there_are_more_values():
    class RawPixels(NormalisesFewValues):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(1e5 * self.body(x).mean((2, 3)))

    report = check_model(RawPixels, "batch 3 4 4", groups=["gradients"], on_fail="collect")
    assert report["gradients.scale"].status is Status.WARNED


class LeavesAutocast(Versioned):
    """Computes a part in float32, whatever autocast says; the meta device has no autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.linear(x)


class Rotary(Versioned):
    """Keeps a table in float32 on purpose, and converts what it computes with it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(0, 1, 6, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x * self.frequencies.cos().to(x.dtype))


class PositionsFromZero(Versioned):
    """Adds a table of positions that starts at zero, and moves."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.bias.sum(0)


class Placeholder(Versioned):
    """Holds an empty tensor for what is not there yet."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = torch.empty(0)


class NoDouble(Versioned):
    """Uses an operation that the platform has in some types only."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise RuntimeError("\"grouped_mm\" not implemented for 'Double'")
        return self.linear(x)


class NeverUsed(Versioned):
    """Has a layer that no batch reaches: one failure, not two."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("make", "check", "status", "note"),
    [
        (LeavesAutocast, "device.meta_shapes", "skipped", "torch.autocast, which the meta device has not"),
        (Rotary, "dtype.default", "passed", "`frequencies`: float32, whatever the default dtype is"),
        (PositionsFromZero, "state.init", "passed", ""),
        (Placeholder, "state.registered", "passed", ""),
        (NoDouble, "dtype.float64", "skipped", "there is no kernel for float64 here"),
        (NeverUsed, "gradients.ddp", "passed", ""),
    ],
)
def test_a_choice_and_a_missing_kernel_are_no_bugs(
    make: Callable[[], nn.Module], check: str, status: str, note: str
) -> None:
    result = check_model(make, "batch 6", checks=check, on_fail="collect")[check]
    assert result.status == status, result.message
    assert note in result.note


def test_a_last_bit_between_threads_is_no_mix_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynets.testing.checks.purity import threads

    real = threads.call_no_grad

    def rounded(*args: Any, **options: Any) -> list[Leaf]:
        found = real(*args, **options)
        if threading.current_thread() is threading.main_thread():
            return found
        return [Leaf(leaf.path, leaf.tensor * (1 + 1e-7)) for leaf in found]

    monkeypatch.setattr(threads, "call_no_grad", rounded)
    result = check_model(Versioned, "batch 6", checks="purity.threads", on_fail="collect")["purity.threads"]
    assert result.status == "passed", result.message
    assert result.note.startswith("rounding: ")


def test_a_last_bit_where_float64_is_impossible_is_rounding() -> None:
    class LastBit(NoDouble):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x) * (1 + 1e-7 * (self.calls % 2))

    result = check_model(LastBit, "batch 6", checks="purity.history", on_fail="collect")["purity.history"]
    assert result.status == "passed", result.message


class Averages(tn.Module):
    """Names axes as people do: one is an attribute, one is in an expression, one only its weights tie to a size."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(6, width)

    def forward(
        self, x: Float[Tensor, "batch time features"], y: Float[Tensor, "batch 2*time width"]
    ) -> Float[Tensor, "batch width"]:
        return self.linear(x).mean(1) + y.mean(1)


class Unenforced(nn.Module):
    """Its annotation is wrong, and nothing has ever said so."""

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch width"]:
        return x.mean(2)


@pytest.mark.parametrize(
    ("make", "inputs", "axes", "note"),
    [
        (Averages, ("batch 5 6", "batch 10 4"), (), "no other size of features runs"),
        (
            Averages,
            ("batch 5 6", "batch 10 4"),
            ("time",),
            "no input has a free axis 'time': they are features",
        ),
        (Unenforced, ("batch 5 6",), (), "the annotation does not hold for the example"),
        (
            lambda: nn.Conv2d(3, 3, 3),
            ("batch 3 9 9",),
            (),
            "no annotation leaves an axis free, but for the batch",
        ),
    ],
)
def test_an_axis_that_has_one_size_is_not_judged(
    make: Callable[[], nn.Module], inputs: tuple[str, ...], axes: tuple[str, ...], note: str
):
    params = {"runs.axes": {"axes": axes}}
    found = check_model(make, *inputs, checks="runs.axes", params=params)["runs.axes"]
    assert found.status is Status.SKIPPED
    assert note in found.note


def test_an_axis_of_a_shape_is_varied():
    named = check_model(nn.Conv2d(3, 3, 3), "batch 3 height=9 width=9", checks="runs.axes")["runs.axes"]
    assert (named.status, named.note) == (Status.PASSED, "")
    flat = nn.Sequential(nn.Flatten(2), nn.Linear(81, 2))
    must = {"runs.axes": {"axes": ("height",)}}
    report = check_model(flat, "batch 3 height=9 width=9", checks="runs.axes", params=must, on_fail="collect")
    assert "the model takes 9 for `height` and no other size" in report["runs.axes"].message
