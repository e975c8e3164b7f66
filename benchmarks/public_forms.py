"""Nets as public repositories write them: a module for each block, layer and activation, unchecked.

The partners of the parity tests compute the same in fewer lines, with loops over blocks in one `forward`, but
nobody trains those. The submodules here have the same names, and so the same order of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def perceptron(*sizes: int, dropout: bool) -> nn.Sequential:
    """Build a perceptron as in any course, with or without dropout."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.ReLU(), *([nn.Dropout(0.1)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class ResidualBlock(nn.Module):
    """The block of the CIFAR ResNets, with shortcut A in a lambda."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or before != width:
            pad = width // 4
            self.shortcut = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad)))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._layer(16, 16, 1)
        self.layer2 = self._layer(16, 32, 2)
        self.layer3 = self._layer(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def _layer(self, before: int, width: int, stride: int) -> nn.Sequential:
        blocks = [ResidualBlock(before, width, stride), ResidualBlock(width, width, 1)]
        return nn.Sequential(*blocks, ResidualBlock(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size(3))
        return self.linear(out.view(out.size(0), -1))


class WideBlock(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False) if before != width else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.bn1(x))
        out = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return torch.add(x if self.shortcut is None else self.shortcut(active), out)


class WideResNet(nn.Module):
    """WRN-16-4."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 64, 128, 256)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        for number, (before, width) in enumerate(pairwise(widths), 1):
            blocks = [WideBlock(before, width, 1 if number == 1 else 2), WideBlock(width, width, 1)]
            self.add_module(f"block{number}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(256)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.block3(self.block2(self.block1(self.conv1(x))))
        out = F.avg_pool2d(self.relu(self.bn(out)), 8)
        return self.fc(out.view(-1, 256))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attn_drop = nn.Dropout(0.1)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        batch, places, width = x.shape
        qkv = self.qkv(x).reshape(batch, places, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = self.attn_drop(((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1))
        return self.proj_drop(self.proj((weights @ v).transpose(1, 2).reshape(batch, places, width)))


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, width)
        self.dropout1 = nn.Dropout(0.0)
        self.norm1 = nn.LayerNorm(width)
        self.linear2 = nn.Linear(width, width)
        self.dropout2 = nn.Dropout(0.0)
        self.drop_path = nn.Identity()

    def forward(self, src: Tensor) -> Tensor:
        src = src + self.drop_path(self.self_attn(self.pre_norm(src)))
        src = self.norm1(src)
        inner = self.linear2(self.dropout1(F.gelu(self.linear1(src))))
        return src + self.drop_path(self.dropout2(inner))


class Tokenizer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
                for before, after in ((3, 64), (64, width))
            )
        )
        self.flattener = nn.Flatten(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.flattener(self.conv_layers(x)).transpose(-2, -1)


class Encoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.positional_emb = nn.Parameter(torch.randn(1, 64, width))
        self.attention_pool = nn.Linear(width, 1)
        self.dropout = nn.Dropout(0.0)
        self.blocks = nn.ModuleList(EncoderLayer(width, 2) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x + self.positional_emb)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        x = torch.matmul(F.softmax(self.attention_pool(x), dim=1).transpose(-1, -2), x).squeeze(-2)
        return self.fc(x)


class Cct(nn.Module):
    """CCT-2/3x2."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = Tokenizer(128)
        self.classifier = Encoder(128)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.tokenizer(x))
