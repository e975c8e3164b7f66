"""What `check_model` objects to in architectures of other packages, and why it is right."""

from __future__ import annotations

from tinynets.testing import Exemption

_READS_MASK = {
    "device.meta_shapes": Exemption(
        "looks at the values of its mask to choose a kernel, which the meta device has not", match="meta"
    )
}
_NUMPY = {
    "modes.seeded": Exemption(
        "draws what it masks in training from NumPy, which torch.manual_seed does not reach",
        match="uses numpy.random",
    )
}
_LAYER_DROP = {
    "gradients.ddp": Exemption("drops whole layers at random in training", match="find_unused_parameters")
}
_LENGTHS = {
    "device.meta_shapes": Exemption("makes its mask as long as the largest length", match="lengths"),
    "purity.alias": Exemption("returns the lengths as they are", match=r"args\[1\]"),
}
_ZERO_BEFORE_NORM = {
    "gradients.scale": Exemption(
        "a class token and its position start at zero, and LayerNorm divides by their spread",
        match="position_embeddings",
    )
}
_CROSS_ATTENTION = {
    "gradients.reach": Exemption("makes a norm for cross attention without any", match="norm_cross_attn")
}

_READERS = [
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "electra",
    "albert",
    "mpnet",
    "distilbert",
    "convbert",
    "squeezebert",
    "mobilebert",
    "roformer",
    "modernbert",
    "longformer",
    "gpt2",
    "gpt_neox",
    "gptj",
    "opt",
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen3",
    "gemma",
    "phi",
    "phi3",
    "stablelm",
    "olmo",
    "cohere",
    "granite",
    "t5",
    "mt5",
    "bart",
    "mbart",
    "pegasus",
    "marian",
    "m2m_100",
    "blenderbot",
]
_FOUND: dict[str, dict[str, Exemption]] = {
    "transformers deberta": {
        "dtype.autocast": Exemption(
            "fills a bfloat16 tensor with the least float32", match="without overflow"
        ),
        "dtype.default": Exemption("two biases are made with dtype=torch.float", match="q_bias"),
    },
    "transformers squeezebert": {
        "transforms.hooks": Exemption("calls `layer.forward(x)`, not `layer(x)`", match="encoder.layers.0")
    },
    "transformers modernbert": {
        "state.padding_row": Exemption("its init fills the row for padding", match="tok_embeddings")
    },
    "transformers mamba": {
        "dtype.bfloat16": Exemption("keeps its residual in float32 on purpose", match="gives float32")
    },
    "transformers xglm": {
        "dtype.float64": Exemption("fills a float32 tensor with the least float64", match="without overflow")
    },
    "transformers m2m_100": _LAYER_DROP,
    "transformers deit": _ZERO_BEFORE_NORM,
    "transformers yolos": _ZERO_BEFORE_NORM,
    **{f"transformers {name}": _NUMPY | _LAYER_DROP for name in ("wav2vec2", "hubert", "sew", "wavlm")},
    "diffusers AutoencoderTiny": {
        "dtype.float64": Exemption("rounds its latents to bytes, and back to float32", match="decoder"),
        "gradients.reach": Exemption(
            "rounds its latents to bytes, which no gradient passes", match="encoder"
        ),
    },
    "diffusers PriorTransformer": {
        "gradients.reach": Exemption("its statistics are parameters, used after sampling only", match="clip_")
    },
    "kornia DexiNed": {
        "gradients.reach": Exemption("makes two norms and a layer that it does not call", match="side_5"),
        "modes.ignored": Exemption("makes two norms that it does not call", match="side_5"),
    },
    "monai DynUNet": {
        "state.registered": Exemption("keeps the outputs of its heads in a list", match="heads")
    },
    "monai VarAutoEncoder": {
        "batch.gradient": Exemption(
            "in eval mode, adds in place to the result of exp, whose gradient needs it", match="of Exp"
        )
    },
    "monai ViT": _CROSS_ATTENTION,
    "monai UNETR": _CROSS_ATTENTION,
    "torchaudio Conformer": _LENGTHS,
    "torchaudio Emformer": _LENGTHS
    | {"batch.subset": Exemption("drops its padding mask for a single sample", match="_EmformerAttention")},
    "vit-pytorch SimpleViT": {
        "state.registered": Exemption("keeps its positions in a plain attribute", match="pos_embedding")
    },
    "vit-pytorch CaiT": {
        "gradients.ddp": _LAYER_DROP["gradients.ddp"],
        "modes.deterministic": Exemption("drops layers in eval mode too", match="Python's random"),
        "modes.seeded": Exemption(
            "draws which layers it drops from Python's random, which torch.manual_seed does not reach",
            match="Python's random",
        ),
    },
    "vit-pytorch CCT": {
        "dtype.default": Exemption("its positions are made from a float32 tensor", match="positional_emb")
    },
    "x-transformers Decoder alibi": {
        "purity.parameters": Exemption("its first call replaces a buffer, the biases", match="rel_pos.bias")
    },
    **{
        f"neuralop {name}": {
            "dtype.default": Exemption("its spectral weights are made as torch.cfloat", match="convs"),
            "purity.attributes": Exemption(
                "keeps the grid of the last resolution", match="positional_embedding"
            ),
        }
        for name in ("FNO", "TFNO", "UNO")
    },
}
_FOUND["neuralop FNO"]["state.roundtrip"] = Exemption(
    "its extra state holds what weights_only=True refuses", match="_metadata"
)
_FOUND["neuralop TFNO"]["state.safetensors"] = Exemption("has an extra state", match="_metadata")
FLAGS: dict[str, dict[str, Exemption]] = {f"transformers {name}": _READS_MASK for name in _READERS}
FLAGS |= {name: FLAGS.get(name, {}) | flags for name, flags in _FOUND.items()}
FALSE_ALARMS = frozenset({("transformers mamba", "dtype.bfloat16")})
"""The objections to what is meant so; every other one is a finding."""
