"""What `check_model` objects to in models of torchvision and timm, and why it is right."""

from __future__ import annotations

from tinynets.testing import Exemption

_ZERO_HEAD = {"state.init": Exemption("the head starts at zero", match="the same for every sample")}
_SMALL_HEAD = {"state.init": Exemption("the head starts at a thousandth of its scale", match="out of scale")}
_FLOAT32_TABLE = {"dtype.default": Exemption("a table is made with dtype=torch.float32", match="relative_")}
# In eval mode the attention biases are looked up once and kept; only `train()` drops them.
_KEEPS_BIASES = {
    "purity.attributes": Exemption("an eval call keeps its attention biases", match="attention_bias_cache"),
    "purity.live_weights": Exemption(
        "kept attention biases outlive a change of the weights", match="attention_bias_cache"
    ),
    "transforms.functional_call": Exemption(
        "kept attention biases are used in place of the weights that are given", match="attention_bias_cache"
    ),
}

FLAGS: dict[str, dict[str, Exemption]] = {
    "torchvision squeezenet1_1": {
        "gradients.input": Exemption(
            "strides without padding leave the last row and column over", match=r"args\[0\]\[:, :, 47, :\]"
        )
    },
    "torchvision mnasnet0_5": {
        "state.safetensors": Exemption(
            "tells old checkpoints by metadata of the state dict, which safetensors cannot hold",
            match="version should be set",
        )
    },
    "torchvision vit_b_16": _ZERO_HEAD,
    "torchvision swin_v2_t": _FLOAT32_TABLE,
    "torchvision maxvit_t": _FLOAT32_TABLE,
    "timm mixer_b16_224": _ZERO_HEAD,
    "timm gmlp_s16_224": _ZERO_HEAD,
    "timm resmlp_12_224": _ZERO_HEAD,
    "timm levit_128s": _KEEPS_BIASES
    | {
        "gradients.zero": Exemption(
            "its last stage has one place here, and a bias does not change a softmax of one value",
            match=r"stages\.2",
        )
    },
    "timm tiny_vit_5m_224": _KEEPS_BIASES,
    "timm efficientformer_l1": _KEEPS_BIASES,
    "timm convit_tiny": {
        "purity.parameters": Exemption(
            "its first call replaces a buffer, the table of relative positions", match="rel_indices"
        )
    },
    "timm eva02_tiny_patch14_224": _SMALL_HEAD,
    "timm beit_base_patch16_224": _SMALL_HEAD
    | {"runs.buffers": Exemption("a bias of keys does not change a softmax", match="k_bias")},
    "timm sequencer2d_s": _ZERO_HEAD
    | {"transforms.compile": Exemption("Dynamo leaves LSTMs out", match="does not support RNN, GRU")},
    "timm hrnet_w18_small": {
        "transforms.hooks": Exemption("calls `down.forward(y)`, not `down(y)`", match=r"downsamp_modules\.0")
    },
}
