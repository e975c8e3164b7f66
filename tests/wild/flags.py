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
_ZERO_BEFORE_NORM = {
    "gradients.scale": Exemption(
        "a class token and its position start at zero, and LayerNorm divides by their spread",
        match="position_embeddings",
    )
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
    "transformers longformer": {
        "gradients.reach": Exemption("global attention needs a mask of its own", match="query_global")
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
    "transformers dinov2": {
        "gradients.reach": Exemption("the mask token needs a mask of patches", match="mask_token")
    },
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
}
FLAGS: dict[str, dict[str, Exemption]] = {f"transformers {name}": _READS_MASK for name in _READERS}
FLAGS |= {name: FLAGS.get(name, {}) | flags for name, flags in _FOUND.items()}
