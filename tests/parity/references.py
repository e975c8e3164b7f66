"""A second implementation of the nets that no package on PyPI has, in plain torch.

Written from paper and authors' code, with the authors' way to compute each step; the nets share nothing with the
package. The functions at the end build ours from their weights.
The options build nets that have as many parameters and compute something else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinynets.models import CCT, ImageClassifier

Weights = dict[str, Tensor]


class ReferenceResNet(nn.Module):
    """The CIFAR ResNet with the names of pytorch-cifar-models; one flat forward."""

    def __init__(self, depth: int, shortcut: str, *, pad_at_end: bool = False, pool_shortcut: bool = False):
        super().__init__()
        self.shortcut, self.pad_at_end, self.pool_shortcut = shortcut, pad_at_end, pool_shortcut
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        before = 16
        for number, width in enumerate((16, 32, 64), start=1):
            blocks = nn.ModuleList()
            for i in range((depth - 2) // 6):
                block = nn.Module()
                block.conv1 = nn.Conv2d(before, width, 3, 2 if number > 1 and i == 0 else 1, 1, bias=False)
                block.bn1 = nn.BatchNorm2d(width)
                block.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
                block.bn2 = nn.BatchNorm2d(width)
                if shortcut == "B" and before != width:
                    block.downsample = nn.Sequential(
                        nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width)
                    )
                blocks.append(block)
                before = width
            self.add_module(f"layer{number}", blocks)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        for block in (*self.layer1, *self.layer2, *self.layer3):
            y = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
            if y.shape != x.shape:
                x = block.downsample(x) if self.shortcut == "B" else self.widen(x)
            x = torch.relu(y + x)
        return self.fc(F.avg_pool2d(x, 8).flatten(1))

    def widen(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, 2) if self.pool_shortcut else x[:, :, 0::2, 0::2]
        zeros = torch.zeros_like(small)
        if self.pad_at_end:
            return torch.cat([small, zeros], 1)
        half = zeros[:, : zeros.shape[1] // 2]
        return torch.cat([half, small, half], 1)


class ReferenceWideResNet(nn.Module):
    """WRN-10-2 and deeper, with blocks as in the authors' functional code."""

    def __init__(
        self, depth: int, factor: int, *, stride_on_second: bool = False, raw_shortcut: bool = False
    ):
        super().__init__()
        self.raw_shortcut = raw_shortcut
        self.conv0 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.blocks = nn.ModuleList()
        before = 16
        for group, width in enumerate((16 * factor, 32 * factor, 64 * factor)):
            for i in range((depth - 4) // 6):
                stride = 2 if group > 0 and i == 0 else 1
                strides = (1, stride) if stride_on_second else (stride, 1)
                block = nn.Module()
                block.bn0 = nn.BatchNorm2d(before)
                block.conv0 = nn.Conv2d(before, width, 3, strides[0], 1, bias=False)
                block.bn1 = nn.BatchNorm2d(width)
                block.conv1 = nn.Conv2d(width, width, 3, strides[1], 1, bias=False)
                block.convdim = nn.Conv2d(before, width, 1, stride, bias=False) if before != width else None
                self.blocks.append(block)
                before = width
        self.bn = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv0(x)
        for block in self.blocks:
            a = F.relu(block.bn0(x), inplace=True)
            y = block.conv1(F.relu(block.bn1(block.conv0(a)), inplace=True))
            x = y + (x if block.convdim is None else block.convdim(x if self.raw_shortcut else a))
        return self.fc(F.avg_pool2d(F.relu(self.bn(x), inplace=True), 8).flatten(1))


class ReferenceCCT(nn.Module):
    """CCT with the authors' names; attention written out."""

    def __init__(self, depth: int, convs: int, *, usual_pre_norm: bool = False):
        super().__init__()
        self.usual_pre_norm = usual_pre_norm
        width, self.heads, ratio = (128, 2, 1) if depth < 6 else (256, 4, 2)
        widths = [3, *[64] * (convs - 1), width]
        self.tokenizer = nn.Module()
        self.tokenizer.conv_layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(widths[i], widths[i + 1], 3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
                )
                for i in range(convs)
            )
        )
        c = self.classifier = nn.Module()
        c.positional_emb = nn.Parameter(torch.randn(1, (32 // 2**convs) ** 2, width))
        c.attention_pool = nn.Linear(width, 1)
        c.blocks = nn.ModuleList()
        for _ in range(depth):
            block = nn.Module()
            block.pre_norm = nn.LayerNorm(width)
            block.self_attn = nn.Module()
            block.self_attn.qkv = nn.Linear(width, 3 * width, bias=False)
            block.self_attn.proj = nn.Linear(width, width)
            block.linear1 = nn.Linear(width, ratio * width)
            block.norm1 = nn.LayerNorm(width)
            block.linear2 = nn.Linear(ratio * width, width)
            c.blocks.append(block)
        c.norm = nn.LayerNorm(width)
        c.fc = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        c = self.classifier
        x = self.tokenizer.conv_layers(x).flatten(2).transpose(1, 2) + c.positional_emb
        for block in c.blocks:
            x = x + self.attend(block.self_attn, block.pre_norm(x))
            normed = block.norm1(x)
            x = x if self.usual_pre_norm else normed
            x = x + block.linear2(F.gelu(block.linear1(normed)))
        x = c.norm(x)
        return c.fc((c.attention_pool(x).softmax(1) * x).sum(1))

    def attend(self, attention: nn.Module, x: Tensor) -> Tensor:
        batch, places, width = x.shape
        qkv = attention.qkv(x).reshape(batch, places, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5
        return attention.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, places, width))


def airbench_reference(*, scale: float = 1 / 9, pool_last: bool = False) -> nn.Module:
    """Airbench94 as one chain of torch's own layers."""

    def norm(width: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)

    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * scale

    layers: list[nn.Module] = [nn.Conv2d(3, 24, 2), nn.GELU()]
    for before, width in ((24, 64), (64, 256), (256, 256)):
        first = nn.Conv2d(before, width, 3, padding="same", bias=False)
        pooled = (
            [norm(width), nn.GELU(), nn.MaxPool2d(2)]
            if pool_last
            else [nn.MaxPool2d(2), norm(width), nn.GELU()]
        )
        second = nn.Conv2d(width, width, 3, padding="same", bias=False)
        layers += [first, *pooled, second, norm(width), nn.GELU()]
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(256, 10, bias=False), Scale())


def lenet_reference(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        activation(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        activation(),
        nn.Linear(120, 84),
        activation(),
        nn.Linear(84, 10),
    )


def in_order(make: Callable[[], ImageClassifier]) -> Callable[[Weights], ImageClassifier]:
    """Copy weights in the order in which both implementations define them; shapes must agree."""

    def build(weights: Weights) -> ImageClassifier:
        model = make()
        names = list(model.state_dict())
        assert len(names) == len(weights)
        return model.with_weights(dict(zip(names, weights.values(), strict=True)))

    return build


def cct_without_dropout(weights: Weights) -> CCT:
    model = CCT.from_official(weights)
    for module in model.modules():
        for rate in ("dropout", "drop_path_rate"):
            if hasattr(module, rate):
                setattr(module, rate, 0.0)
    return model
