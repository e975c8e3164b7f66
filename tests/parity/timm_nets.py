"""The nets that timm can build from its classes; options are timm's."""

from __future__ import annotations

import timm
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


def resnet18(**options: object) -> nn.Module:
    partner = timm.create_model("resnet18", num_classes=10, **options)
    partner.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    partner.maxpool = nn.Identity()
    return partner
