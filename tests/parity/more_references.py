"""A second implementation of nets that no package has in this form, in plain torch.

Written from the sources that the models name. The options build nets that have as many parameters and compute
something else.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)


class PreActResNet(nn.Module):
    """PreActResNet-18 with the names of pytorch-cifar."""

    def __init__(self, *, raw_shortcut: bool = False) -> None:
        super().__init__()
        self.raw_shortcut = raw_shortcut
        self.conv1 = conv(3, 64)
        before = 64
        for number, width in enumerate((64, 128, 256, 512), start=1):
            blocks = nn.ModuleList()
            for i in range(2):
                stride = 2 if i == 0 and number > 1 else 1
                block = nn.Module()
                block.bn1, block.conv1 = nn.BatchNorm2d(before), conv(before, width, stride=stride)
                block.bn2, block.conv2 = nn.BatchNorm2d(width), conv(width, width)
                if stride == 2:
                    block.shortcut = nn.Sequential(conv(before, width, 1, 2))
                blocks.append(block)
                before = width
            self.add_module(f"layer{number}", blocks)
        self.linear = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for block in (*self.layer1, *self.layer2, *self.layer3, *self.layer4):
            active = torch.relu(block.bn1(x))
            y = block.conv2(torch.relu(block.bn2(block.conv1(active))))
            x = y + (block.shortcut(x if self.raw_shortcut else active) if hasattr(block, "shortcut") else x)
        return self.linear(F.avg_pool2d(x, x.shape[-1]).flatten(1))


class SeResNet(nn.Module):
    """SE-ResNet-20, with the gates as 1x1 convolutions."""

    def __init__(self, *, gate_first: bool = False) -> None:
        super().__init__()
        self.gate_first = gate_first
        self.stem = nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.ModuleList()
        before = 16
        for width in (16, 32, 64):
            for i in range(3):
                block = nn.Module()
                stride = 2 if i == 0 and width > 16 else 1
                block.first = nn.Sequential(conv(before, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU())
                block.second = nn.Sequential(conv(width, width), nn.BatchNorm2d(width))
                block.squeeze = nn.Linear(width, width // 16, bias=False)
                block.excite = nn.Linear(width // 16, width, bias=False)
                if before != width:
                    block.down = nn.Sequential(conv(before, width, 1, stride), nn.BatchNorm2d(width))
                self.blocks.append(block)
                before = width
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            y = block.second(block.first(x))
            carried = block.down(x) if hasattr(block, "down") else x
            y = carried + y if self.gate_first else y
            means = F.adaptive_avg_pool2d(y, 1).flatten(1)
            gates = torch.sigmoid(block.excite(torch.relu(block.squeeze(means))))[:, :, None, None]
            x = torch.relu(y * gates if self.gate_first else torch.addcmul(carried, y, gates))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class ResNet9(nn.Module):
    """ResNet-9 as a chain, two parts of which are added to what goes in."""

    def __init__(self, *, activate_sum: bool = False) -> None:
        super().__init__()
        self.activate_sum = activate_sum

        def layer(before: int, after: int) -> nn.Sequential:
            return nn.Sequential(conv(before, after), nn.BatchNorm2d(after), nn.ReLU())

        self.prep = layer(3, 64)
        self.layer1, self.res1 = layer(64, 128), nn.Sequential(layer(128, 128), layer(128, 128))
        self.layer2 = layer(128, 256)
        self.layer3, self.res3 = layer(256, 512), nn.Sequential(layer(512, 512), layer(512, 512))
        self.linear = nn.Linear(512, 10, bias=False)

    def add(self, x: Tensor, residual: nn.Sequential) -> Tensor:
        if not self.activate_sum:
            return x + residual(x)
        return torch.relu(x + residual[1][:2](residual[0](x)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.add(F.max_pool2d(self.layer1(self.prep(x)), 2), self.res1)
        x = F.max_pool2d(self.layer2(x), 2)
        x = self.add(F.max_pool2d(self.layer3(x), 2), self.res3)
        return self.linear(F.max_pool2d(x, x.shape[-1]).flatten(1)) * 0.125


def mnist_cnn(pooling: type[nn.Module] = nn.MaxPool2d) -> nn.Module:
    """The chain of `mnist/main.py` without dropout and log-softmax; the maximum may as well come first."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        pooling(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


class ShuffleNet(nn.Module):
    """ShuffleNetV2 at width 1 with the names of pytorch-cifar."""

    def __init__(self, *, shuffle: bool = True) -> None:
        super().__init__()
        self.shuffle = shuffle
        self.conv1, self.bn1 = conv(3, 24), nn.BatchNorm2d(24)
        before = 24
        for number, (width, times) in enumerate(((116, 4), (232, 8), (464, 4)), start=1):
            half, layer = width // 2, nn.ModuleList()
            for i in range(times):
                # Kernel, channels before and after, stride; a 3x3 convolution sees each channel alone.
                chain = [(1, half, half, 1), (3, half, half, 1), (1, half, half, 1)]
                if i == 0:
                    left = [(3, before, before, 2), (1, before, half, 1)]
                    chain = [*left, (1, before, half, 1), (3, half, half, 2), (1, half, half, 1)]
                block = nn.Module()
                for j, (kernel, narrow, wide, stride) in enumerate(chain, start=1):
                    groups = narrow if kernel == 3 else 1
                    each = nn.Conv2d(narrow, wide, kernel, stride, kernel // 2, groups=groups, bias=False)
                    block.add_module(f"conv{j}", each)
                    block.add_module(f"bn{j}", nn.BatchNorm2d(wide))
                layer.append(block)
            self.add_module(f"layer{number}", layer)
            before = width
        self.conv2, self.bn2 = conv(464, 1024, 1), nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        for block in (*self.layer1, *self.layer2, *self.layer3):
            down = hasattr(block, "conv4")
            left, right = (x, x) if down else x.tensor_split(2, dim=1)
            if down:
                left = torch.relu(block.bn2(block.conv2(block.bn1(block.conv1(left)))))
            names = ("3", "4", "5") if down else ("1", "2", "3")
            for number in names:
                right = block.get_submodule("bn" + number)(block.get_submodule("conv" + number)(right))
                right = right if number == names[1] else torch.relu(right)
            x = torch.cat((left, right), 1)
            if self.shuffle:
                x = x.view(len(x), 2, -1, *x.shape[2:]).permute(0, 2, 1, 3, 4).reshape(x.shape)
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class GoogLeNet(nn.Module):
    """GoogLeNet with the names of pytorch-cifar: chains side by side."""

    def __init__(self, pooling: type[nn.Module] = nn.MaxPool2d) -> None:
        super().__init__()

        def chain(*sizes: int) -> nn.Sequential:
            """A 1x1 convolution, then 3x3 ones."""
            layers = nn.Sequential()
            for i, (before, after) in enumerate(pairwise(sizes)):
                kernel = 3 if i else 1
                layers.extend([nn.Conv2d(before, after, kernel, 1, kernel // 2), nn.BatchNorm2d(after)])
                layers.append(nn.ReLU())
            return layers

        self.pre_layers = nn.Sequential(nn.Conv2d(3, 192, 3, 1, 1), nn.BatchNorm2d(192), nn.ReLU())
        before = 192
        for name, (one, narrow3, wide3, narrow5, wide5, pooled) in {
            "a3": (64, 96, 128, 16, 32, 32),
            "b3": (128, 128, 192, 32, 96, 64),
            "a4": (192, 96, 208, 16, 48, 64),
            "b4": (160, 112, 224, 24, 64, 64),
            "c4": (128, 128, 256, 24, 64, 64),
            "d4": (112, 144, 288, 32, 64, 64),
            "e4": (256, 160, 320, 32, 128, 128),
            "a5": (256, 160, 320, 32, 128, 128),
            "b5": (384, 192, 384, 48, 128, 128),
        }.items():
            block = nn.Module()
            block.b1 = chain(before, one)
            block.b2 = chain(before, narrow3, wide3)
            block.b3 = chain(before, narrow5, wide5, wide5)
            block.b4 = nn.Sequential(pooling(3, 1, 1), *chain(before, pooled))
            self.add_module(name, block)
            before = one + wide3 + wide5 + pooled
        self.linear = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        for name, part in list(self.named_children())[:-1]:
            if name in ("a4", "a5"):
                x = F.max_pool2d(x, 3, 2, 1)
            if name == "pre_layers":
                x = part(x)
            else:
                x = torch.cat([part.b1(x), part.b2(x), part.b3(x), part.b4(x)], 1)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
