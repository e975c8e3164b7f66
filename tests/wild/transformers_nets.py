"""Architectures of transformers, from configurations without weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from .net import LENGTH, TOKENS, Net, generator, images, text, tokens

_WIDE: dict[str, Any] = {
    "vocab_size": TOKENS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_PATCHES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
_PAIR: dict[str, Any] = {
    "vocab_size": TOKENS,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SOUND: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [16, 16, 16],
    "conv_stride": [5, 2, 2],
    "conv_kernel": [10, 3, 3],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_length": 2,
}


def _made(kind: str, **settings: Any) -> nn.Module:
    return AutoModel.from_config(AutoConfig.for_model(kind, **settings))


def _text(kind: str, **settings: Any) -> Net:
    return Net(partial(_made, kind, **_WIDE | settings), named=text())


def _pair(kind: str, **settings: Any) -> Net:
    return Net(
        partial(_made, kind, **_PAIR | settings), named={**text(), "decoder_input_ids": tokens(length=6)}
    )


def _image(kind: str, size: int = 32, **settings: Any) -> Net:
    return Net(partial(_made, kind, **settings), named={"pixel_values": images(size)})


def _sound(kind: str, **settings: Any) -> Net:
    wave = torch.randn(4, 800, generator=generator())
    return Net(partial(_made, kind, **_SOUND | settings), named={"input_values": wave})


_SMALL_T5 = {"vocab_size": TOKENS, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_STAGES = {"depths": [1, 1], "num_heads": [2, 4], "embed_dim": 16, "window_size": 4, "image_size": 32}

_NETS = {
    # encoders
    "bert": _text("bert"),
    "roberta": _text("roberta"),
    "xlm-roberta": _text("xlm-roberta"),
    "camembert": _text("camembert"),
    "electra": _text("electra", embedding_size=16),
    "albert": _text("albert", embedding_size=16),
    "mpnet": _text("mpnet"),
    "deberta-v2": _text("deberta-v2", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "deberta": _text("deberta", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "distilbert": Net(
        partial(_made, "distilbert", vocab_size=TOKENS, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
        named=text(),
    ),
    "convbert": _text("convbert", embedding_size=32, head_ratio=2),
    "squeezebert": _text(
        "squeezebert",
        embedding_size=32,
        q_groups=2,
        k_groups=2,
        v_groups=2,
        post_attention_groups=1,
        intermediate_groups=2,
        output_groups=2,
    ),
    "mobilebert": _text("mobilebert", embedding_size=16, intra_bottleneck_size=32, true_hidden_size=32),
    "roformer": _text("roformer", embedding_size=32),
    "modernbert": _text("modernbert", cls_token_id=1, sep_token_id=2),
    "fnet": Net(
        partial(_made, "fnet", **{k: v for k, v in _WIDE.items() if k != "num_attention_heads"}),
        named={"input_ids": tokens()},
    ),
    "longformer": Net(
        partial(_made, "longformer", **_WIDE, attention_window=4),
        named={**text(), "global_attention_mask": (torch.arange(LENGTH) < 1).long().repeat(4, 1)},
    ),
    # decoders
    "gpt2": Net(
        partial(_made, "gpt2", vocab_size=TOKENS, n_embd=32, n_layer=2, n_head=4, n_positions=64),
        named=text(),
    ),
    "gpt_neo": Net(
        partial(
            _made,
            "gpt_neo",
            vocab_size=TOKENS,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            max_position_embeddings=64,
        ),
        named=text(),
    ),
    "gpt_neox": _text("gpt_neox"),
    "gptj": Net(
        partial(
            _made, "gptj", vocab_size=TOKENS, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4
        ),
        named=text(),
    ),
    "opt": _text("opt", ffn_dim=48, word_embed_proj_dim=32),
    "bloom": Net(
        partial(_made, "bloom", vocab_size=TOKENS, hidden_size=32, n_layer=2, n_head=4), named=text()
    ),
    "llama": _text("llama", num_key_value_heads=2),
    "mistral": _text("mistral", num_key_value_heads=2),
    "mixtral": _text("mixtral", num_key_value_heads=2, num_local_experts=4),
    "qwen2": _text("qwen2", num_key_value_heads=2),
    "qwen3": _text("qwen3", num_key_value_heads=2, head_dim=8),
    "gemma": _text("gemma", num_key_value_heads=2, head_dim=8),
    "gemma2": _text("gemma2", num_key_value_heads=2, head_dim=8),
    "phi": _text("phi"),
    "phi3": _text("phi3", num_key_value_heads=2),
    "stablelm": _text("stablelm", num_key_value_heads=2),
    "falcon": Net(
        partial(
            _made, "falcon", vocab_size=TOKENS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
        ),
        named=text(),
    ),
    "olmo": _text("olmo", num_key_value_heads=2),
    "cohere": _text("cohere", num_key_value_heads=2),
    "granite": _text("granite", num_key_value_heads=2),
    "mamba": Net(
        partial(_made, "mamba", vocab_size=TOKENS, hidden_size=32, num_hidden_layers=2, state_size=4),
        named={"input_ids": tokens()},
    ),
    "xglm": Net(
        partial(_made, "xglm", vocab_size=TOKENS, d_model=32, num_layers=2, attention_heads=4, ffn_dim=48),
        named=text(),
    ),
    # an encoder and a decoder
    "t5": Net(partial(_made, "t5", **_SMALL_T5), named={**text(), "decoder_input_ids": tokens(length=6)}),
    "mt5": Net(partial(_made, "mt5", **_SMALL_T5), named={**text(), "decoder_input_ids": tokens(length=6)}),
    "bart": _pair("bart"),
    "mbart": _pair("mbart"),
    "pegasus": _pair("pegasus"),
    "marian": _pair("marian", decoder_start_token_id=0),
    "m2m_100": _pair("m2m_100"),
    "blenderbot": _pair("blenderbot"),
    "whisper": Net(
        partial(
            _made,
            "whisper",
            **{k: v for k, v in _PAIR.items() if k != "max_position_embeddings"},
            num_mel_bins=8,
            max_source_positions=15,
            max_target_positions=20,
        ),
        named={
            "input_features": torch.randn(4, 8, 30, generator=generator()),
            "decoder_input_ids": tokens(length=6),
        },
    ),
    # images
    "vit": _image("vit", **_PATCHES),
    "deit": _image("deit", **_PATCHES),
    "beit": _image("beit", **_PATCHES, use_relative_position_bias=True),
    "dinov2": Net(
        partial(_made, "dinov2", **_PATCHES),
        named={
            "pixel_values": images(),
            "bool_masked_pos": torch.rand(4, 16, generator=generator()) < 0.3,
        },
    ),
    "siglip_vision_model": _image("siglip_vision_model", **_PATCHES),
    "clip_vision_model": _image("clip_vision_model", **_PATCHES),
    "yolos": _image("yolos", **{**_PATCHES, "image_size": [32, 32]}, num_detection_tokens=5),
    "swin": _image("swin", **_STAGES),
    "swinv2": _image("swinv2", **_STAGES),
    "convnext": _image("convnext", num_stages=2, hidden_sizes=[8, 16], depths=[1, 1]),
    "convnextv2": _image("convnextv2", num_stages=2, hidden_sizes=[8, 16], depths=[1, 1]),
    "resnet": _image("resnet", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
    "regnet": _image("regnet", embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1], groups_width=16),
    "mobilenet_v2": _image("mobilenet_v2", depth_multiplier=0.25),
    "poolformer": _image("poolformer", 64, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
    "segformer": _image(
        "segformer", 64, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2]
    ),
    "pvt_v2": _image(
        "pvt_v2",
        64,
        image_size=64,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
    ),
    "focalnet": _image(
        "focalnet",
        embed_dim=8,
        depths=[1, 1],
        hidden_sizes=[8, 16],
        focal_levels=[1, 1],
        focal_windows=[3, 3],
    ),
    # sound
    "wav2vec2": _sound("wav2vec2"),
    "hubert": _sound("hubert"),
    "sew": _sound("sew", squeeze_factor=2),
    "wavlm": _sound("wavlm"),
}

NETS: dict[str, Net] = {f"transformers {name}": net for name, net in _NETS.items()}
