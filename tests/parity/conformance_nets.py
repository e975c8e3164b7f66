"""Models of torchvision and timm for `check_model`: each architecture as its package builds it, in a small size.

What makes a model small is what its class takes: fewer or narrower blocks, smaller images. Heads have ten classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import timm
import torchvision.models as tv
from timm.layers import GatedMlp
from timm.models.convmixer import ConvMixer
from timm.models.metaformer import GroupNorm1, MetaFormer
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock, SpatialGatingBlock
from timm.models.nest import Nest
from timm.models.sequencer import Sequencer2d
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.video.resnet import BasicBlock as VideoBlock
from torchvision.models.video.resnet import BasicStem, Conv3DSimple, VideoResNet


class Net(NamedTuple):
    """A model: how it is made, and its inputs as `check_model` takes them."""

    make: Callable[[], nn.Module]
    inputs: tuple[str, ...]


def _images(size: int) -> tuple[str, ...]:
    return (f"batch 3 {size} {size}",)


def _torchvision(name: str, size: int = 32, **options: object) -> Net:
    return Net(partial(tv.get_model, name, weights=None, num_classes=10, **options), _images(size))


def _timm(name: str, size: int = 32, **options: object) -> Net:
    return Net(partial(timm.create_model, name, num_classes=10, **options), _images(size))


def _sized(name: str, size: int = 32, **options: object) -> Net:
    return _timm(name, size, img_size=size, **options)


TORCHVISION = {
    "resnet18": Net(
        partial(tv.ResNet, tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10, width_per_group=64),
        _images(32),
    ),
    "resnext50": Net(
        partial(tv.ResNet, tv.resnet.Bottleneck, [1, 1, 1, 1], num_classes=10, groups=8, width_per_group=4),
        _images(32),
    ),
    "squeezenet1_1": _torchvision("squeezenet1_1", 48),
    "mobilenet_v2": _torchvision("mobilenet_v2", width_mult=0.35),
    "mobilenet_v3_small": _torchvision("mobilenet_v3_small"),
    "mnasnet0_5": _torchvision("mnasnet0_5"),
    "shufflenet_v2_x0_5": _torchvision("shufflenet_v2_x0_5"),
    "efficientnet_b0": _torchvision("efficientnet_b0"),
    "densenet121": Net(partial(tv.DenseNet, 8, (2, 2, 2, 2), 16, num_classes=10), _images(32)),
    "googlenet": _torchvision("googlenet", 64, init_weights=True),
    "regnet_y_400mf": _torchvision("regnet_y_400mf"),
    "convnext_tiny": Net(
        partial(
            tv.ConvNeXt,
            [CNBlockConfig(24, 48, 1), CNBlockConfig(48, 96, 1), CNBlockConfig(96, None, 1)],
            num_classes=10,
        ),
        _images(32),
    ),
    "vit_b_16": Net(partial(tv.VisionTransformer, 32, 8, 2, 4, 64, 128, num_classes=10), _images(32)),
    "swin_t": Net(
        partial(tv.SwinTransformer, [4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10), _images(32)
    ),
    "swin_v2_t": Net(
        partial(
            tv.SwinTransformer,
            [4, 4],
            24,
            [2, 2],
            [2, 4],
            [4, 4],
            num_classes=10,
            block=tv.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=tv.swin_transformer.PatchMergingV2,
        ),
        _images(32),
    ),
    "maxvit_t": Net(
        partial(tv.MaxVit, (64, 64), 16, 2, [16, 32], [1, 1], 8, 0.1, num_classes=10), _images(64)
    ),
    "lraspp_mobilenet_v3_large": _torchvision("lraspp_mobilenet_v3_large", 32, weights_backbone=None),
    "r3d_18": Net(
        partial(VideoResNet, VideoBlock, [Conv3DSimple] * 4, [1, 1, 1, 1], BasicStem, num_classes=10),
        ("batch 3 4 16 16",),
    ),
}
_MIXER = {"num_classes": 10, "img_size": 32, "patch_size": 16, "num_blocks": 2, "embed_dim": 48}
TIMM = {
    "resnet18": _timm("resnet18", layers=(1, 1, 1, 1), channels=(16, 32, 32, 64)),
    "vit_tiny_patch16_224": _sized("vit_tiny_patch16_224", depth=2, embed_dim=48),
    "deit_tiny_distilled_patch16_224": _sized("deit_tiny_distilled_patch16_224", depth=2, embed_dim=48),
    "mixer_b16_224": Net(partial(MlpMixer, **_MIXER), _images(32)),
    "gmlp_s16_224": Net(
        partial(MlpMixer, **_MIXER, mlp_ratio=6, block_layer=SpatialGatingBlock, mlp_layer=GatedMlp),
        _images(32),
    ),
    "resmlp_12_224": Net(
        partial(MlpMixer, **_MIXER, mlp_ratio=4, block_layer=ResBlock, norm_layer=Affine), _images(32)
    ),
    "convmixer_768_32": Net(partial(ConvMixer, 48, 2, num_classes=10), _images(28)),
    "levit_128s": _sized("levit_128s", 64),
    "tiny_vit_5m_224": _timm(
        "tiny_vit_5m_224", 64, embed_dims=(16, 32, 32, 64), depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4)
    ),
    "efficientformer_l1": _timm("efficientformer_l1", 224, depths=(1, 1, 1, 2), embed_dims=(16, 16, 32, 32)),
    "convit_tiny": _sized("convit_tiny", depth=2, embed_dim=32, local_up_to_layer=1),
    "xcit_nano_12_p16_224": _timm("xcit_nano_12_p16_224", depth=2, embed_dim=32),
    "tf_efficientnet_b0": _timm("tf_efficientnet_b0"),
    "repvgg_a0": _timm("repvgg_a0"),
    "convnext_atto": _timm("convnext_atto", depths=(1, 1, 1, 1), dims=(16, 24, 32, 48)),
    "ghostnet_100": _timm("ghostnet_050"),
    "mobilenetv4_conv_small": _timm("mobilenetv4_conv_small_050"),
    "repvit_m0_9": _timm("repvit_m0_9", embed_dim=(16, 24, 32, 48), depth=(1, 1, 1, 1)),
    "fastvit_t8": _timm("fastvit_t8", 64, layers=(1, 1, 1, 1)),
    "nf_resnet26": _timm("nf_resnet26", width_factor=0.25),
    "botnet26t_256": _sized("botnet26t_256", 64),
    "coatnet_nano_rw_224": _sized("coatnet_pico_rw_224", 64, depths=(1, 1, 1, 1), embed_dim=(16, 32, 32, 64)),
    "maxvit_rmlp_pico_rw_256": _sized(
        "maxvit_rmlp_pico_rw_256", 64, depths=(1, 1, 1, 1), embed_dim=(32, 32, 32, 64)
    ),
    "eva02_tiny_patch14_224": _sized("eva02_tiny_patch14_224", 28, depth=2, embed_dim=48),
    "beit_base_patch16_224": _sized("beit_base_patch16_224", depth=2, embed_dim=48, num_heads=2),
    "swinv2_cr_tiny_ns_224": _sized(
        "swinv2_cr_tiny_ns_224", 64, depths=(1, 1), embed_dim=24, num_heads=(2, 4)
    ),
    "pit_ti_224": _sized("pit_ti_224", 64, base_dims=(16, 16, 16), depth=(1, 1, 1)),
    "pvt_v2_b0": _timm("pvt_v2_b0", 64, depths=(1, 1, 1, 1)),
    "poolformer_s12": Net(
        partial(
            MetaFormer,
            depths=(1, 1, 1, 1),
            dims=(16, 24, 32, 48),
            num_classes=10,
            downsample_norm=None,
            mlp_act=nn.GELU,
            mlp_bias=True,
            norm_layers=GroupNorm1,
            layer_scale_init_values=1e-5,
            res_scale_init_values=None,
            use_mlp_head=False,
        ),
        _images(64),
    ),
    "edgenext_xx_small": _timm("edgenext_xx_small", 64),
    "mobileone_s0": _timm("mobileone_s0"),
    "mobilevit_xxs": _timm("mobilevit_xxs", 64),
    "visformer_tiny": _sized("visformer_tiny", 64, embed_dim=48, depth=(1, 1, 1)),
    "cait_xxs24_224": _sized("cait_xxs24_224", depth=2, embed_dim=48),
    "nest_tiny": Net(
        partial(Nest, 64, embed_dims=(16, 32, 32), num_heads=(1, 2, 2), depths=(1, 1, 1), num_classes=10),
        _images(64),
    ),
    "hrnet_w18_small": _timm("hrnet_w18_small", 64),
    "sequencer2d_s": Net(
        partial(
            Sequencer2d,
            10,
            56,
            layers=(1, 1, 1, 1),
            patch_sizes=(7, 2, 1, 1),
            embed_dims=(16, 24, 24, 24),
            hidden_sizes=(8, 8, 8, 8),
        ),
        _images(56),
    ),
    "mambaout_femto": _timm("mambaout_femto", 64, depths=(1, 1, 1, 1), dims=(16, 24, 32, 48)),
    "starnet_s1": _timm("starnet_s1", 32, base_dim=8),
}
NETS = {f"torchvision {name}": net for name, net in TORCHVISION.items()} | {
    f"timm {name}": net for name, net in TIMM.items()
}
