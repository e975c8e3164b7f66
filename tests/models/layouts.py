"""Nets with the names of public repositories, written from their layouts: small, and none shares code with ours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)


def holder(**children: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


class ResNet(nn.Module):
    """akamaster's at three stages, with shortcut A; kuangliu's ResNet-18 at four, which project."""

    def __init__(self, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.project = len(widths) == 4
        self.conv1, self.bn1 = conv(3, widths[0]), nn.BatchNorm2d(widths[0])
        before = widths[0]
        for number, width in enumerate(widths, start=1):
            layer = nn.Sequential()
            for _ in range(blocks):
                stride = 1 if before == width else 2
                block = holder(
                    conv1=conv(before, width, stride=stride),
                    bn1=nn.BatchNorm2d(width),
                    conv2=conv(width, width),
                    bn2=nn.BatchNorm2d(width),
                    shortcut=nn.Sequential(),
                )
                if self.project and before != width:
                    block.shortcut.extend([conv(before, width, 1, 2), nn.BatchNorm2d(width)])
                layer.append(block)
                before = width
            self.add_module(f"layer{number}", layer)
        self.linear = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for name, layer in self.named_children():
            for block in layer if name.startswith("layer") else ():
                y = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
                if y.shape[1] != x.shape[1] and not self.project:
                    quarter = y.shape[1] // 4
                    x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
                x = F.relu(y + block.shortcut(x))
        return self.linear(x.mean((2, 3)))


class DenseNet(nn.Module):
    """andreasveit's if `own` are his names, bearpaw's otherwise; two layers a block."""

    def __init__(self, own: bool, growth: int = 4) -> None:
        super().__init__()
        self.own = own
        width = 2 * growth
        self.conv1 = conv(3, width)
        for number in (1, 2, 3):
            layers = nn.Sequential()
            for _ in range(2):
                bottleneck = (conv(width, 4 * growth, 1), nn.BatchNorm2d(4 * growth))
                layers.append(
                    holder(
                        bn1=nn.BatchNorm2d(width),
                        conv1=bottleneck[0],
                        bn2=bottleneck[1],
                        conv2=conv(4 * growth, growth),
                    )
                )
                width += growth
            self.add_module(
                f"block{number}" if own else f"dense{number}", holder(layer=layers) if own else layers
            )
            if number < 3:
                self.add_module(
                    f"trans{number}", holder(bn1=nn.BatchNorm2d(width), conv1=conv(width, width // 2, 1))
                )
                width //= 2
        self.add_module("bn1" if own else "bn", nn.BatchNorm2d(width))
        self.fc = nn.Linear(width, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name, module in list(self.named_children())[1:-2]:
            if name.startswith("trans"):
                x = F.avg_pool2d(module.conv1(F.relu(module.bn1(x))), 2)
            else:
                for layer in module.layer if self.own else module:
                    y = layer.conv1(F.relu(layer.bn1(x)))
                    x = torch.cat([x, layer.conv2(F.relu(layer.bn2(y)))], 1)
        return self.fc(F.relu((self.bn1 if self.own else self.bn)(x)).mean((2, 3)))


class WideResNet(nn.Module):
    """xternalz', WRN-10-2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 16)
        before = 16
        for number, width in enumerate((32, 64, 128), start=1):
            block = holder(
                bn1=nn.BatchNorm2d(before),
                conv1=conv(before, width, stride=1 if number == 1 else 2),
                bn2=nn.BatchNorm2d(width),
                conv2=conv(width, width),
                convShortcut=conv(before, width, 1, 1 if number == 1 else 2),
            )
            self.add_module(f"block{number}", holder(layer=nn.Sequential(block)))
            before = width
        self.bn1, self.fc = nn.BatchNorm2d(before), nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in (self.block1, self.block2, self.block3):
            (block,) = stage.layer
            x = F.relu(block.bn1(x))
            x = block.conv2(F.relu(block.bn2(block.conv1(x)))) + block.convShortcut(x)
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)


def convmixer(width: int = 8, depth: int = 3, kernel: int = 3, patch: int = 2) -> nn.Sequential:
    """locuslab's: one chain."""
    mixed = [
        nn.Sequential(
            Residual(
                nn.Sequential(
                    nn.Conv2d(width, width, kernel, groups=width, padding="same"),
                    nn.GELU(),
                    nn.BatchNorm2d(width),
                )
            ),
            nn.Conv2d(width, width, 1),
            nn.GELU(),
            nn.BatchNorm2d(width),
        )
        for _ in range(depth)
    ]
    patches = [nn.Conv2d(3, width, patch, patch), nn.GELU(), nn.BatchNorm2d(width)]
    return nn.Sequential(*patches, *mixed, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class MobileNetV2(nn.Module):
    """chenyaofo's, at a width; its numbers of channels are given, not computed."""

    def __init__(self, stem: int, channels: tuple[int, ...], last: int) -> None:
        super().__init__()

        def active(before: int, after: int, *kind: int) -> nn.Sequential:
            return nn.Sequential(conv(before, after, *kind), nn.BatchNorm2d(after), nn.ReLU6())

        self.features = nn.Sequential(active(3, stem))
        before = stem
        for width, times, stride in zip(channels, (1, 2, 3, 4, 3, 3, 1), (1, 1, 2, 2, 1, 2, 1), strict=True):
            for i in range(times):
                hidden = before * (1 if len(self.features) == 1 else 6)
                layers = [] if hidden == before else [active(before, hidden, 1)]
                layers += [active(hidden, hidden, 3, stride if i == 0 else 1, hidden)]
                layers += [conv(hidden, width, 1), nn.BatchNorm2d(width)]
                self.features.append(holder(conv=nn.Sequential(*layers)))
                before = width
        self.features.append(active(before, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, 10))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.features:
            y = part(x) if isinstance(part, nn.Sequential) else part.conv(x)
            x = x + y if x.shape == y.shape and not isinstance(part, nn.Sequential) else y
        return self.classifier(x.mean((2, 3)))
