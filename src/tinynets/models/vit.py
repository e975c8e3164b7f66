"""SimpleViT: a vision transformer without class token, dropout or learned positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import init

from ..errors import CheckpointError
from ..layers import check_at_least_one, check_choice, check_multiple, init_lecun, init_zero
from ..layers.attention import Activation, FeedForward, SelfAttention
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights

TIMM_KEYS = {
    r"^patch_embed\.proj\.": "patches.",
    r"\.attn\.proj\.": ".attention.out.",
    r"\.attn\.": ".attention.",
    r"\.norm1\.": ".attention_norm.",
    r"\.norm2\.": ".mlp_norm.",
}


class TransformerBlock(Module):
    """Self-attention, then a perceptron per token; each with a pre-norm and a residual connection."""

    embed_dim: int

    def __init__(
        self, embed_dim: int, *, num_heads: int, hidden: int, activation: Activation = "gelu"
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.attention_norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.attention = SelfAttention(embed_dim, num_heads=num_heads)
        self.mlp_norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.mlp = FeedForward(embed_dim, hidden, activation=activation)

    def forward(
        self, tokens: Float[Tensor, "batch tokens embed_dim"]
    ) -> Float[Tensor, "batch tokens embed_dim"]:
        """Apply attention, then the perceptron."""
        attended: Float[Tensor, "batch tokens embed_dim"] = tokens + self.attention(
            self.attention_norm(tokens)
        )
        outputs: Float[Tensor, "batch tokens embed_dim"] = attended + self.mlp(self.mlp_norm(attended))
        return outputs


class SimpleViT(ImageClassifier):
    """Vision transformer with fixed sine positions and mean pooling; 2,680,906 parameters at its defaults.

    Images `[batch in_channels image_size image_size]` to logits `[batch num_classes]`; every block works on
    tokens `[batch (image_size/patch_size)^2 embed_dim]`.

    "Better plain ViT baselines for ImageNet-1k", arXiv 2205.01580, at a size of our choice. This is the form
    of the authors' JAX code: attention with biases, one convolution for the patches; that code uses flax's
    GELU, the tanh form, so with `activation="gelu_tanh"` the outputs agree to 1e-15, with timm's exact GELU
    to 2e-4. Its optional layer with tanh before the head is omitted. The widely copied form of vit-pytorch
    leaves out the biases and puts two norms around the patches: 2,676,778 parameters.

    Parity partner: timm. Differs from the paper: a size of our choice.

    Args:
        image_size: height and width of the images; a multiple of `patch_size`.
        patch_size: height and width of a patch.
        embed_dim: size of a token; a multiple of 4 and of `num_heads`.
        depth: number of blocks.
        num_heads: attention maps per block.
        hidden: width of the perceptron in each block.
        in_channels: channels of the images.
        num_classes: width of the output.
        activation: "gelu" is exact; "gelu_tanh" is the approximation in the authors' code.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    # A skip, not an expected failure: a trained model passes.
    __checks__: ClassVar = {"skip": {"state.init": "the head starts at zero"}}

    in_channels: int
    image_size: int
    num_classes: int
    embed_dim: int
    side: int
    positions: Tensor

    def __init__(
        self,
        *,
        image_size: int = 32,
        patch_size: int = 4,
        embed_dim: int = 192,
        depth: int = 6,
        num_heads: int = 3,
        hidden: int = 768,
        in_channels: int = 3,
        num_classes: int = 10,
        activation: Activation = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(image_size=image_size, patch_size=patch_size, embed_dim=embed_dim, depth=depth)
        check_at_least_one(
            num_heads=num_heads, hidden=hidden, in_channels=in_channels, num_classes=num_classes
        )
        check_multiple("image_size", image_size, "patch_size", patch_size)
        check_choice("activation", activation, ("gelu", "gelu_tanh"))
        check_multiple("embed_dim", embed_dim, "num_heads", num_heads)
        if embed_dim % 4 or embed_dim < 8:
            raise ValueError(
                f"embed_dim must be a multiple of 4 and at least 8 for its sines, got {embed_dim}"
            )
        self.image_size = image_size
        self.patch_size = patch_size
        self.embed_dim = embed_dim
        self.depth = depth
        self.num_heads = num_heads
        self.hidden = hidden
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.activation = activation
        self.side = image_size // patch_size
        with torch.device("meta"):
            self.patches = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)
            # A buffer, so that it follows the model's device and dtype; computed, so not in the state dict.
            self.register_buffer("positions", torch.empty(self.side**2, embed_dim), persistent=False)
            self.blocks = nn.Sequential(
                *(
                    TransformerBlock(embed_dim, num_heads=num_heads, hidden=hidden, activation=activation)
                    for _ in range(depth)
                )
            )
            self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
            self.head = nn.Linear(embed_dim, num_classes)
        self.stages = tuple(Stage(f"blocks.{i}", embed_dim, patch_size) for i in range(depth))
        self._allocate(generator)

    @classmethod
    def from_timm(cls, state_dict: Mapping[str, Tensor], *, image_size: int = 32, num_heads: int = 3) -> Self:
        """Build the model from weights of timm's `VisionTransformer` without class token, pooled by the mean.

        timm's positions are learned and ours are fixed: `pos_embed` must equal our sines.

        Raises:
            CheckpointError: names, shapes or positions do not fit; the message says which.
        """
        weights = ForeignWeights(state_dict, TIMM_KEYS)
        learned = weights.pop("pos_embed")
        embed_dim, in_channels, patch_size, _ = weights.shape("patches.weight", 4)
        if learned is not None:
            _check_positions(learned, sine_positions(image_size // patch_size, embed_dim))
        return weights.build(
            cls,
            image_size=image_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=weights.count("blocks"),
            num_heads=num_heads,
            hidden=weights.shape("blocks.0.mlp.fc1.weight", 2)[0],
            in_channels=in_channels,
        )

    def forward(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch side*side embed_dim"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch side*side embed_dim"]:
        """Map images to the normalised tokens of the last block."""
        patches: Float[Tensor, "batch embed_dim side side"] = self.patches(images)
        tokens: Float[Tensor, "batch side*side embed_dim"] = rearrange(patches, "b c h w -> b (h w) c")
        placed: Float[Tensor, "batch side*side embed_dim"] = tokens + self.positions
        attended: Float[Tensor, "batch side*side embed_dim"] = self.blocks(placed)
        normed: Float[Tensor, "batch side*side embed_dim"] = self.norm(attended)
        return normed

    def forward_pool(
        self, features: Float[Tensor, "batch side*side embed_dim"]
    ) -> Float[Tensor, "batch embed_dim"]:
        """Map tokens to one row per image: their mean."""
        return features.mean(1)

    def _init_buffers(self) -> None:
        self.positions.copy_(sine_positions(self.side, self.embed_dim))

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw as the authors' code does: Xavier uniform in the blocks, LeCun normal patches."""
        if isinstance(module, nn.Linear):
            # Queries, keys and values are three square matrices in that code, each with its own fan.
            attentions = (other for other in self.modules() if isinstance(other, SelfAttention))
            gain = math.sqrt(2) if any(module is attention.qkv for attention in attentions) else 1.0
            init.xavier_uniform_(module.weight, gain, generator=generator)
            init.zeros_(module.bias)
        else:
            init_lecun(module, generator)

    def init_head(self, head: nn.Linear, generator: torch.Generator | None) -> None:
        """Start the head at 0, so that the first logits are all equal."""
        init_zero(head)


def sine_positions(side: int, embed_dim: int) -> Float[Tensor, "side*side embed_dim"]:
    """Return sines and cosines of the column and of the row of every patch (MoCo v3's, arXiv 2104.02057)."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    quarter = embed_dim // 4
    frequency = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / (quarter - 1))
    x = column.flatten().outer(frequency)
    y = row.flatten().outer(frequency)
    return torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), dim=1)


def _check_positions(learned: Tensor, fixed: Tensor) -> None:
    if learned.shape[-2:] != fixed.shape:
        raise CheckpointError(
            f"pos_embed has shape {list(learned.shape)}, where [1, {fixed.shape[0]}, {fixed.shape[1]}] is "
            "expected: is image_size right, and is there no class token?"
        )
    if not torch.allclose(learned.to(fixed), fixed, atol=1e-4):
        raise CheckpointError("pos_embed is not the fixed sine table, which is all that SimpleViT can hold")
