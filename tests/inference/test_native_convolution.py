"""For one image a faster kernel takes the place of another, where it gives the same bits and as long as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tinynets as tn
from tinynets._inference import body_code, native_convolution
from tinynets._inference.optimized import OptimizedModel

from . import nets

X = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
Native = Callable[..., Tensor]


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())


def like_onednn(images: Tensor, weight: Tensor, _: Any, bias: Any, stride: Any, padding: Any) -> Tensor:
    return torch.conv2d(images, weight, bias, stride, padding)


def multiplies_padding(
    images: Tensor, weight: Tensor, _: Any, bias: Any, stride: Any, padding: Any
) -> Tensor:
    top, left = padding
    return torch.conv2d(torch.nn.functional.pad(images, (left, left, top, top)), weight, bias, stride)


def native(monkeypatch: pytest.MonkeyPatch, kernel: Native | None) -> None:
    monkeypatch.setattr(native_convolution, "native_conv2d", kernel)
    monkeypatch.setattr(body_code, "native_conv2d", kernel)


def took_the_twin(fast: Any, *args: Any) -> bool:
    """Whether the line that accepts these arguments is the one with the twin."""
    line = fast._calls[0](*args)
    return "thnn_conv2d" in fast._lines[0].source and isinstance(line, Tensor)


@pytest.fixture
def settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")


def test_a_twin_is_taken_for_one_image_and_large_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    native(monkeypatch, like_onednn)
    net = model()
    fast = tn.optimize_for_inference(net, "batch 1 12 12")
    first, second = (line.source for line in fast._lines)
    assert "x = thnn_conv2d(input, _0_weight, (5, 5), _0_bias, (1, 1), (2, 2))" in first
    assert first.count("conv2d(") == 2
    assert "thnn" not in second
    assert took_the_twin(fast, X)
    assert nets.equal(fast, net, X)
    assert nets.equal(fast, net, X.expand(3, -1, -1, -1).contiguous())


def test_torchs_own_kernel_is_exact_where_it_is_taken() -> None:
    net = tn.create_model("lenet5")
    fast = tn.optimize_for_inference(net)
    for seed in range(20):
        images = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
        assert nets.equal(fast, net, images * images.exp())


@pytest.mark.parametrize("error", [1e-7, float("nan")])
def test_a_kernel_with_other_bits_is_no_twin(monkeypatch: pytest.MonkeyPatch, error: float) -> None:
    def other(*args: Any) -> Tensor:
        maps = like_onednn(*args)
        maps[..., 0, 0] *= 1 + error
        return maps

    native(monkeypatch, other)
    assert "thnn" not in tn.optimize_for_inference(model(), "batch 1 12 12").source


def test_without_a_native_kernel_torch_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    native(monkeypatch, None)
    assert "thnn" not in tn.optimize_for_inference(model(), "batch 1 12 12").source


def test_infinite_weights_go_to_the_other_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    native(monkeypatch, multiplies_padding)
    net = model()
    fast = tn.optimize_for_inference(net, "batch 1 12 12")
    assert took_the_twin(fast, X)
    net[0].weight.data[0, 0, 0, 0] = torch.inf  # by the padding, it makes NaN of zero
    assert not took_the_twin(fast, X)
    with tn.inference(net):
        torch.testing.assert_close(fast(X), net(X), rtol=0, atol=0, equal_nan=True)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "threads": lambda _: torch.set_num_threads(torch.get_num_threads() + 1),
    "precision": lambda _: torch.set_float32_matmul_precision("medium"),
    "channels last": lambda net: net.to(memory_format=torch.channels_last),
}


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("name", CHANGES)
def test_what_was_not_tried_goes_to_the_other_kernel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    native(monkeypatch, like_onednn)
    net = model()
    fast = tn.optimize_for_inference(net, "batch 1 12 12")
    assert took_the_twin(fast, X)
    CHANGES[name](net)
    assert not took_the_twin(fast, X)
    for _ in range(2):
        assert nets.equal(fast, net, X)


def test_an_image_with_its_channels_last_goes_to_the_other_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    native(monkeypatch, like_onednn)
    net = model()
    fast = tn.optimize_for_inference(net, "batch 1 12 12")
    images = X.as_strided((1, 1, 12, 12), (144, 1, 12, 1))  # contiguous, and channels last
    assert images.is_contiguous()
    assert not took_the_twin(fast, images)
    assert nets.equal(fast, net, images)


class OfAnArgument(nn.Module):
    def forward(self, images: Tensor, weight: Tensor) -> Tensor:
        return torch.conv2d(images, weight)


def test_a_weight_may_be_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    native(monkeypatch, multiplies_padding)
    net = OfAnArgument()
    weight = torch.randn(3, 1, 5, 5)
    fast = tn.optimize_for_inference(net, X, weight)
    assert nets.equal(fast, net, X, weight)
    assert took_the_twin(fast, X, weight)
    assert not took_the_twin(fast, X, torch.full_like(weight, torch.inf))


def test_an_image_without_a_batch_axis_takes_no_twin() -> None:
    net, image = nn.Conv2d(1, 4, 5), X[0]
    fast = OptimizedModel(net)
    fast.learn((image,), {}, any_size=False)
    assert nets.equal(fast, net, image)
    assert "= conv2d(" in fast.source


def test_autocast_takes_no_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    native(monkeypatch, like_onednn)
    with torch.autocast("cpu", torch.bfloat16):
        assert "thnn" not in tn.optimize_for_inference(model(), "batch 1 12 12").source
