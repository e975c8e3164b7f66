"""The nets that torchvision's classes can be turned into; the options build what is easily confused with them."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from tinynets.models import EfficientNetB0Cifar, MobileNetV2Cifar


def resnet18(*, keep_maxpool: bool = False) -> nn.Module:
    partner = torchvision.models.resnet18(num_classes=10)
    partner.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if not keep_maxpool:
        partner.maxpool = nn.Identity()
    return partner


def deep_resnet(depth: int, *, stride_in_1x1: bool = False) -> nn.Module:
    partner = torchvision.models.get_model(f"resnet{depth}", num_classes=10)
    partner.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    partner.maxpool = nn.Identity()
    for module in partner.modules():
        if stride_in_1x1 and isinstance(module, Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)
    return partner


class ResNeXt(nn.Module):
    """ResNeXt-29 out of torchvision's bottlenecks, whose width is a multiple of a quarter of the output."""

    def __init__(self, cardinality: int, *, groups: int | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        before = 64
        for stage, width in enumerate((256, 512, 1024), start=1):
            down = nn.Sequential(
                nn.Conv2d(before, width, 1, 1 if stage == 1 else 2, bias=False), nn.BatchNorm2d(width)
            )
            options = {
                "groups": groups or cardinality,
                "base_width": 64 * cardinality // (groups or cardinality),
            }
            blocks = [Bottleneck(before, width // 4, 1 if stage == 1 else 2, down, **options)]
            blocks += [Bottleneck(width, width // 4, **options) for _ in range(2)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            before = width
        self.fc = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def mobilenet(*, stride_at_24_channels: int = 1) -> nn.Module:
    setting = [
        [1, 16, 1, 1],
        [6, 24, 2, stride_at_24_channels],
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
    partner = torchvision.models.mobilenet_v2(num_classes=10, inverted_residual_setting=setting, dropout=0.0)
    partner.features[0][0].stride = (1, 1)
    return partner


def mobilenet_without_dropout(weights: dict[str, Tensor]) -> MobileNetV2Cifar:
    model = MobileNetV2Cifar.from_torchvision(weights)
    model.dropout = 0.0
    return model


def efficientnet(*, stride_at_24_channels: int = 1) -> nn.Module:
    partner = torchvision.models.efficientnet_b0(num_classes=10, dropout=0.0, stochastic_depth_prob=0.0)
    partner.features[0][0].stride = (1, 1)
    partner.features[2][0].block[1][0].stride = (stride_at_24_channels, stride_at_24_channels)
    return partner


def efficientnet_without_dropout(weights: dict[str, Tensor]) -> EfficientNetB0Cifar:
    model = EfficientNetB0Cifar.from_torchvision(weights)
    model.dropout = 0.0
    for module in model.modules():
        if hasattr(module, "drop_path_rate"):
            module.drop_path_rate = 0.0
    return model


def densenet(*, keep_pool: bool = False) -> nn.Module:
    partner = torchvision.models.DenseNet(
        growth_rate=12, block_config=(16, 16, 16), num_init_features=24, num_classes=10
    )
    partner.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    partner.features.norm0 = partner.features.relu0 = nn.Identity()
    if not keep_pool:
        partner.features.pool0 = nn.Identity()
    return partner


def vgg16(*, activation: type[nn.Module] | None = None) -> nn.Module:
    trunk = torchvision.models.vgg16_bn().features
    for i, layer in enumerate(trunk):
        if activation and isinstance(layer, nn.ReLU):
            trunk[i] = activation()
    parts = {"features": trunk, "flatten": nn.Flatten(), "classifier": nn.Linear(512, 10)}
    partner = nn.Sequential()
    for name, part in parts.items():
        partner.add_module(name, part)
    return partner


class ThinResNet(nn.Module):
    """ResNet-20 with shortcut B out of torchvision's blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        for stage, (before, width) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [BasicBlock(width, width) for _ in range(3)]
            if before != width:
                shortcut = nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width))
                blocks[0] = BasicBlock(before, width, 2, shortcut)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.fc(torch.flatten(self.avgpool(self.layer3(self.layer2(self.layer1(x)))), 1))
