"""What looks like a bug and is none: each of these once made a check object, or break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from tinynets.testing import Exemption, check_model
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


@pytest.mark.parametrize(
    ("make", "check"),
    [
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
