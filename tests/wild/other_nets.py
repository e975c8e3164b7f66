"""Architectures of diffusers, segmentation_models_pytorch, kornia, monai, torchaudio and others, without weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import kornia
import monai.networks.nets as monai
import neuralop.models as neuralop
import open_clip
import segmentation_models_pytorch as smp
import torch
import torchaudio.models as torchaudio
import vit_pytorch as vit
import x_transformers as xt
from torch import nn
from vit_pytorch.cait import CaiT
from vit_pytorch.cct import CCT
from vit_pytorch.deepvit import DeepViT
from vit_pytorch.mobile_vit import MobileViT
from vit_pytorch.simple_vit import SimpleViT

from .net import TOKENS, Net, generator, images, tokens


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator())


def _noisy(**more: Any) -> dict[str, Any]:
    return {"sample": images(16, 4), "timestep": torch.tensor([1, 50, 200, 900]), **more}


_WORDS = {"encoder_hidden_states": _normal(4, 7, 16)}
_BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}

DIFFUSERS = {
    "UNet2DModel": Net(
        partial(
            diffusers.UNet2DModel,
            sample_size=16,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=4,
            **_BLOCKS,
        ),
        named=_noisy(),
    ),
    "UNet2DConditionModel": Net(
        partial(
            diffusers.UNet2DConditionModel,
            sample_size=16,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            **_BLOCKS,
        ),
        named=_noisy(**_WORDS),
    ),
    "AutoencoderKL": Net(
        partial(
            diffusers.AutoencoderKL,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            **_BLOCKS,
        ),
        named={"sample": images(16)},
    ),
    "VQModel": Net(
        partial(
            diffusers.VQModel,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            num_vq_embeddings=16,
            **_BLOCKS,
        ),
        named={"sample": images(16)},
    ),
    "AutoencoderTiny": Net(
        partial(
            diffusers.AutoencoderTiny,
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        ),
        named={"sample": images(16)},
    ),
    "DiTTransformer2DModel": Net(
        partial(
            diffusers.DiTTransformer2DModel,
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=1000,
            norm_num_groups=4,
        ),
        named={
            "hidden_states": images(8, 4),
            "timestep": torch.tensor([1, 50, 200, 900]),
            "class_labels": torch.tensor([1, 5, 20, 90]),
        },
    ),
    "PixArtTransformer2DModel": Net(
        partial(
            diffusers.PixArtTransformer2DModel,
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            cross_attention_dim=16,
            caption_channels=16,
            use_additional_conditions=False,
        ),
        named={"hidden_states": images(8, 4), "timestep": torch.tensor([1, 50, 200, 900]), **_WORDS},
    ),
    "PriorTransformer": Net(
        partial(
            diffusers.PriorTransformer,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            embedding_dim=16,
            num_embeddings=7,
            additional_embeddings=4,
        ),
        named={
            "hidden_states": _normal(4, 16),
            "timestep": torch.tensor([1, 50, 200, 900]),
            "proj_embedding": _normal(4, 16),
            **_WORDS,
        },
    ),
    "UNet1DModel": Net(
        partial(
            diffusers.UNet1DModel,
            sample_size=32,
            in_channels=2,
            out_channels=2,
            extra_in_channels=64,
            block_out_channels=(32, 32),
            down_block_types=("DownBlock1DNoSkip", "DownBlock1D"),
            up_block_types=("UpBlock1D", "UpBlock1DNoSkip"),
        ),
        named={"sample": _normal(4, 2, 32), "timestep": torch.tensor([1, 50, 200, 900])},
    ),
    "UVit2DModel": Net(
        partial(
            diffusers.UVit2DModel,
            hidden_size=16,
            cond_embed_dim=16,
            micro_cond_encode_dim=8,
            micro_cond_embed_dim=8 * 5,
            encoder_hidden_size=16,
            vocab_size=20,
            codebook_size=19,
            in_channels=16,
            block_out_channels=16,
            num_res_blocks=1,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            sample_size=8,
        ),
        named={
            "input_ids": torch.randint(0, 19, (4, 8, 8), generator=generator()),
            "pooled_text_emb": _normal(4, 16),
            "micro_conds": _normal(4, 5),
            **_WORDS,
        },
    ),
}


_ENCODER = "tu-test_resnet.r160_in1k"  # the smallest residual network of timm


def _segmentation(kind: str, size: int = 64) -> Net:
    return Net(partial(getattr(smp, kind), _ENCODER, encoder_weights=None, classes=2), (images(size),))


SEGMENTATION = {
    "Unet": _segmentation("Unet"),
    "UnetPlusPlus": _segmentation("UnetPlusPlus"),
    "MAnet": _segmentation("MAnet"),
    "Linknet": _segmentation("Linknet"),
    "FPN": _segmentation("FPN"),
    "PSPNet": _segmentation("PSPNet"),
    "DeepLabV3": _segmentation("DeepLabV3"),
    "DeepLabV3Plus": _segmentation("DeepLabV3Plus"),
    "PAN": _segmentation("PAN", 128),
    "UPerNet": _segmentation("UPerNet"),
    "Segformer": _segmentation("Segformer"),
}

KORNIA = {
    "HardNet": Net(partial(kornia.feature.HardNet, pretrained=False), (images(32, 1),)),
    "SOSNet": Net(partial(kornia.feature.SOSNet, pretrained=False), (images(32, 1),)),
    "TFeat": Net(partial(kornia.feature.TFeat, pretrained=False), (images(32, 1),)),
    "HyNet": Net(partial(kornia.feature.HyNet, pretrained=False), (images(32, 1),)),
    "OriNet": Net(partial(kornia.feature.OriNet, pretrained=False), (images(32, 1),)),
    "LAFAffNetShapeEstimator": Net(
        partial(kornia.feature.LAFAffNetShapeEstimator, pretrained=False),
        (_normal(4, 3, 2, 3) + 12, images(32, 1)),
    ),
    "SIFTDescriptor": Net(partial(kornia.feature.SIFTDescriptor, 32), (images(32, 1),)),
    "RRDBNet": Net(
        partial(kornia.models.RRDBNet, num_in_ch=3, num_out_ch=3, num_feat=8, num_block=1), (images(16),)
    ),
    "DexiNed": Net(partial(kornia.models.dexined.DexiNed, pretrained=False), (images(32),)),
    "GaussianBlur2d": Net(partial(kornia.filters.GaussianBlur2d, (3, 3), (1.5, 1.5)), (images(16),)),
    "SSIMLoss": Net(partial(kornia.losses.SSIMLoss, 5, reduction="none"), (images(16), images(16).flip(3))),
}

MONAI = {
    "UNet": Net(
        partial(
            monai.UNet, spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2)
        ),
        (images(16, 1),),
    ),
    "BasicUNet": Net(
        partial(monai.BasicUNet, spatial_dims=2, in_channels=1, out_channels=2, features=(4, 4, 8, 8, 16, 4)),
        (images(32, 1),),
    ),
    "AttentionUnet": Net(
        partial(
            monai.AttentionUnet,
            spatial_dims=2,
            in_channels=1,
            out_channels=2,
            channels=(4, 8, 16),
            strides=(2, 2),
        ),
        (images(16, 1),),
    ),
    "SegResNet": Net(
        partial(monai.SegResNet, spatial_dims=2, in_channels=1, out_channels=2, init_filters=8),
        (images(16, 1),),
    ),
    "DynUNet": Net(
        partial(
            monai.DynUNet,
            spatial_dims=2,
            in_channels=1,
            out_channels=2,
            kernel_size=(3, 3, 3),
            strides=(1, 2, 2),
            upsample_kernel_size=(2, 2),
            filters=(4, 8, 16),
        ),
        (images(16, 1),),
    ),
    "VNet": Net(partial(monai.VNet, spatial_dims=2, in_channels=1, out_channels=2), (images(32, 1),)),
    "UNETR": Net(
        partial(
            monai.UNETR,
            in_channels=1,
            out_channels=2,
            img_size=32,
            feature_size=4,
            hidden_size=32,
            mlp_dim=48,
            num_heads=4,
            spatial_dims=2,
        ),
        (images(32, 1),),
    ),
    "SwinUNETR": Net(
        partial(
            monai.SwinUNETR,
            in_channels=1,
            out_channels=2,
            feature_size=12,
            spatial_dims=2,
            depths=(1, 1, 1, 1),
            num_heads=(1, 2, 2, 4),
        ),
        (images(64, 1),),
    ),
    "DenseNet": Net(
        partial(
            monai.DenseNet,
            spatial_dims=2,
            in_channels=1,
            out_channels=2,
            init_features=8,
            growth_rate=4,
            block_config=(2, 2),
        ),
        (images(32, 1),),
    ),
    "AutoEncoder": Net(
        partial(
            monai.AutoEncoder, spatial_dims=2, in_channels=1, out_channels=1, channels=(4, 8), strides=(2, 2)
        ),
        (images(16, 1),),
    ),
    "VarAutoEncoder": Net(
        partial(
            monai.VarAutoEncoder,
            spatial_dims=2,
            in_shape=(1, 16, 16),
            out_channels=1,
            latent_size=4,
            channels=(4, 8),
            strides=(2, 2),
        ),
        (images(16, 1),),
    ),
    "ViT": Net(
        partial(
            monai.ViT,
            in_channels=1,
            img_size=(16, 16),
            patch_size=(8, 8),
            hidden_size=32,
            mlp_dim=48,
            num_layers=2,
            num_heads=4,
            spatial_dims=2,
        ),
        (images(16, 1),),
    ),
    "HighResNet": Net(
        partial(monai.HighResNet, spatial_dims=2, in_channels=1, out_channels=2), (images(16, 1),)
    ),
    "SEResNet50": Net(
        partial(monai.SEResNet50, spatial_dims=2, in_channels=1, num_classes=2), (images(64, 1),)
    ),
}

SOUND = {
    "Conformer": Net(
        partial(
            torchaudio.Conformer,
            input_dim=16,
            num_heads=4,
            ffn_dim=32,
            num_layers=2,
            depthwise_conv_kernel_size=7,
        ),
        (_normal(4, 10, 16), torch.full((4,), 10)),
    ),
    "Emformer": Net(
        partial(torchaudio.Emformer, 16, 4, 32, 2, 4, right_context_length=1),
        (_normal(4, 9, 16), torch.tensor([8, 7, 5, 8])),
    ),
    "ConvTasNet": Net(
        partial(
            torchaudio.ConvTasNet,
            enc_num_feats=16,
            msk_num_feats=8,
            msk_num_hidden_feats=16,
            msk_num_layers=2,
            msk_num_stacks=1,
        ),
        (_normal(4, 1, 200),),
    ),
    "DeepSpeech": Net(partial(torchaudio.DeepSpeech, 16, n_hidden=16, n_class=5), (_normal(4, 1, 8, 16),)),
    "Wav2Letter": Net(partial(torchaudio.Wav2Letter, 5, "mfcc", 8), (_normal(4, 8, 60),)),
    "WaveRNN": Net(
        partial(
            torchaudio.WaveRNN,
            upsample_scales=[2, 2],
            n_classes=8,
            hop_length=4,
            n_res_block=2,
            n_rnn=16,
            n_fc=16,
            n_freq=8,
            n_hidden=8,
            n_output=8,
        ),
        (_normal(4, 1, 24), _normal(4, 1, 8, 10)),
        options={"batch_axes": 0},
    ),
}

_VIT = {"image_size": 32, "patch_size": 8, "num_classes": 5, "dim": 32, "depth": 2, "heads": 4, "mlp_dim": 48}
_DECODER = {"dim": 32, "depth": 2, "heads": 4, "attn_dim_head": 8}
WRAPPED = {
    "ViT": Net(partial(vit.ViT, **_VIT), (images(32),)),
    "SimpleViT": Net(partial(SimpleViT, **_VIT), (images(32),)),
    "DeepViT": Net(partial(DeepViT, **_VIT), (images(32),)),
    "CaiT": Net(partial(CaiT, **_VIT, cls_depth=1, layer_dropout=0.3), (images(32),)),
    "CCT": Net(
        partial(
            CCT,
            img_size=32,
            embedding_dim=32,
            num_layers=2,
            num_heads=4,
            mlp_ratio=2,
            num_classes=5,
            n_conv_layers=1,
            kernel_size=3,
            stride=2,
            padding=1,
            pooling_kernel_size=3,
            pooling_stride=2,
            pooling_padding=1,
        ),
        (images(32),),
    ),
    "MobileViT": Net(
        partial(
            MobileViT,
            (64, 64),
            [16, 20, 24],
            [8, 8, 8, 8, 12, 12, 16, 16, 20, 20, 24],
            num_classes=5,
            depths=(1, 1, 1),
        ),
        (images(64),),
    ),
}


def _words(**settings: Any) -> nn.Module:
    wrapped = xt.Decoder(**_DECODER, **settings)
    return xt.TransformerWrapper(num_tokens=TOKENS, max_seq_len=32, attn_layers=wrapped)


def _encoder(**settings: Any) -> nn.Module:
    wrapped = xt.Encoder(**_DECODER, **settings)
    return xt.TransformerWrapper(num_tokens=TOKENS, max_seq_len=32, attn_layers=wrapped)


def _patches() -> nn.Module:
    return xt.ViTransformerWrapper(
        image_size=32, patch_size=8, num_classes=5, attn_layers=xt.Encoder(**_DECODER)
    )


X_TRANSFORMERS = {
    "Decoder": Net(_words, (tokens(),)),
    "Decoder rotary": Net(partial(_words, rotary_pos_emb=True), (tokens(),)),
    "Decoder alibi": Net(partial(_words, alibi_pos_bias=True, alibi_num_heads=2), (tokens(),)),
    "Decoder glu rmsnorm": Net(partial(_words, ff_glu=True, use_rmsnorm=True), (tokens(),)),
    "Encoder t5": Net(partial(_encoder, rel_pos_bias=True), (tokens(),)),
    "ViTransformerWrapper": Net(_patches, (images(32),)),
}


def _clip(name: str) -> nn.Module:
    text = {"context_length": 8, "vocab_size": TOKENS, "width": 32, "heads": 4, "layers": 2}
    if name == "CoCa":
        return open_clip.CoCa(
            32,
            multimodal_cfg={**text, "n_queries": 4},
            text_cfg={**text, "embed_cls": True, "output_tokens": True, "context_length": 7},
            vision_cfg={**_VISION, "attentional_pool": True, "output_tokens": True, "attn_pooler_heads": 4},
        )
    return open_clip.CLIP(32, vision_cfg=_VISION if name == "ViT" else _RESNET, text_cfg=text)


_VISION = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8}
_RESNET = {"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 8}
_CAPTIONS = tokens(length=8)
CLIP = {
    "CLIP ViT": Net(partial(_clip, "ViT"), (images(32), _CAPTIONS)),
    "CLIP ResNet": Net(partial(_clip, "ResNet"), (images(32), _CAPTIONS)),
}

NEURALOP = {
    "FNO": Net(
        partial(neuralop.FNO, n_modes=(4, 4), hidden_channels=8, in_channels=1, out_channels=1, n_layers=2),
        (images(16, 1),),
    ),
    "TFNO": Net(
        partial(neuralop.TFNO, n_modes=(4, 4), hidden_channels=8, in_channels=1, out_channels=1, n_layers=2),
        (images(16, 1),),
    ),
    "UNO": Net(
        partial(
            neuralop.UNO,
            in_channels=1,
            out_channels=1,
            hidden_channels=8,
            n_layers=3,
            uno_out_channels=[8, 8, 8],
            uno_n_modes=[[4, 4]] * 3,
            uno_scalings=[[1, 1]] * 3,
            channel_mlp_skip="linear",
        ),
        (images(16, 1),),
    ),
}

NETS: dict[str, Net] = {
    f"{package} {name}": net
    for package, nets in {
        "diffusers": DIFFUSERS,
        "smp": SEGMENTATION,
        "kornia": KORNIA,
        "monai": MONAI,
        "torchaudio": SOUND,
        "vit-pytorch": WRAPPED,
        "x-transformers": X_TRANSFORMERS,
        "open_clip": CLIP,
        "neuralop": NEURALOP,
    }.items()
    for name, net in nets.items()
}
