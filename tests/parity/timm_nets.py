"""The nets that timm can build from its classes; options are timm's."""

from __future__ import annotations

import timm
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from timm.models.convmixer import ConvMixer as TimmConvMixer
from timm.models.mlp_mixer import MlpMixer as TimmMixer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from tinynets.models.vit import sine_positions


def mixer(**options: object) -> nn.Module:
    return TimmMixer(img_size=32, patch_size=4, embed_dim=128, num_blocks=8, num_classes=10, **options)


def convmixer(**options: object) -> nn.Module:
    return TimmConvMixer(dim=256, depth=8, kernel_size=5, patch_size=2, num_classes=10, **options)


def vit(**options: object) -> nn.Module:
    settings = {"class_token": False, "global_pool": "avg", "fc_norm": False, "num_classes": 10, **options}
    partner = VisionTransformer(img_size=32, patch_size=4, embed_dim=192, depth=6, num_heads=3, **settings)
    if partner.pos_embed.shape[1] == 64:
        partner.pos_embed = nn.Parameter(
            sine_positions(8, 192)[None].to(partner.pos_embed), requires_grad=False
        )
    return partner


def vit_tiny(**options: object) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, patch_size=4, **options)


def convnext(**options: object) -> nn.Module:
    partner = timm.create_model("convnext_atto", num_classes=10, **options)
    partner.stem[0] = nn.Conv2d(3, 40, 2, 2)
    for module in partner.modules():
        if hasattr(module, "gamma"):
            nn.init.uniform_(module.gamma, 0.5, 1.5)  # at its 1e-6, a block would not show
    return partner


def repvgg(*, stem_stride: int = 1) -> nn.Module:
    blocks = tuple(
        ByoBlockCfg("rep", d=depth, c=channels, s=stride, gs=0, br=1.0)
        for channels, depth, stride in ((48, 2, 1), (96, 4, 2), (192, 14, 2), (1280, 1, 2))
    )
    partner = ByobNet(ByoModelCfg(blocks=blocks, stem_type="rep", stem_chs=48), num_classes=10)
    for conv in (partner.stem.conv_kxk.conv, partner.stem.conv_1x1.conv):
        conv.stride = (stem_stride, stem_stride)
    return partner


def resnet18(**options: object) -> nn.Module:
    partner = timm.create_model("resnet18", num_classes=10, **options)
    partner.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    partner.maxpool = nn.Identity()
    return partner
