"""ViT-Tiny: a vision transformer with class token and learned positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import init

from ..layers import check_at_least_one, check_multiple, init_default, init_normal
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights
from .vit import TIMM_KEYS, TransformerBlock


class ViTTiny(ImageClassifier):
    """ViT-Ti with 4x4 patches for small images; 5,362,762 parameters at 32x32.

    Images `[batch in_channels image_size image_size]` to logits `[batch num_classes]`; every block works on
    the class token and the tokens of the patches, `[batch 1+(image_size/patch_size)^2 embed_dim]`.

    "An Image is Worth 16x16 Words", arXiv 2010.11929, at the size that DeiT (arXiv 2012.12877) calls tiny, in
    timm's form: no layer before the head.

    Parity partner: timm. Differs from the paper: 4x4 patches.

    Args:
        image_size: height and width of the images; a multiple of `patch_size`.
        patch_size: height and width of a patch.
        embed_dim: size of a token; a multiple of `num_heads`.
        depth: number of blocks.
        num_heads: attention maps per block.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    image_size: int
    num_classes: int
    embed_dim: int
    side: int

    def __init__(
        self,
        *,
        image_size: int = 32,
        patch_size: int = 4,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(image_size=image_size, patch_size=patch_size, embed_dim=embed_dim, depth=depth)
        check_at_least_one(num_heads=num_heads, in_channels=in_channels, num_classes=num_classes)
        check_multiple("image_size", image_size, "patch_size", patch_size)
        check_multiple("embed_dim", embed_dim, "num_heads", num_heads)
        self.image_size = image_size
        self.patch_size = patch_size
        self.embed_dim = embed_dim
        self.depth = depth
        self.num_heads = num_heads
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.side = image_size // patch_size
        with torch.device("meta"):
            self.patches = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)
            self.class_token = nn.Parameter(torch.empty(1, 1, embed_dim))
            self.positions = nn.Parameter(torch.empty(1, 1 + self.side**2, embed_dim))
            self.blocks = nn.Sequential(
                *(
                    TransformerBlock(embed_dim, num_heads=num_heads, hidden=4 * embed_dim)
                    for _ in range(depth)
                )
            )
            self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
            self.head = nn.Linear(embed_dim, num_classes)
        self.stages = tuple(Stage(f"blocks.{i}", embed_dim, patch_size) for i in range(depth))
        self._allocate(generator)

    @classmethod
    def from_timm(cls, state_dict: Mapping[str, Tensor], *, num_heads: int = 3) -> Self:
        """Build the model from weights of timm's `VisionTransformer` with a class token, such as ViT-Ti.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(
            state_dict, {r"^cls_token$": "class_token", r"^pos_embed$": "positions", **TIMM_KEYS}
        )
        embed_dim, in_channels, patch_size, _ = weights.shape("patches.weight", 4)
        return weights.build(
            cls,
            image_size=round((weights.shape("positions", 3)[1] - 1) ** 0.5) * patch_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=weights.count("blocks"),
            num_heads=num_heads,
            in_channels=in_channels,
        )

    def forward(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 1+side*side embed_dim"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch 1+side*side embed_dim"]:
        """Map images to the normalised tokens of the last block, the class token first."""
        patches: Float[Tensor, "batch embed_dim side side"] = self.patches(images)
        tokens: Float[Tensor, "batch side*side embed_dim"] = rearrange(patches, "b c h w -> b (h w) c")
        first: Float[Tensor, "batch 1 embed_dim"] = self.class_token.expand(tokens.shape[0], -1, -1)
        placed: Float[Tensor, "batch 1+side*side embed_dim"] = (
            torch.cat((first, tokens), dim=1) + self.positions
        )
        attended: Float[Tensor, "batch 1+side*side embed_dim"] = self.blocks(placed)
        normed: Float[Tensor, "batch 1+side*side embed_dim"] = self.norm(attended)
        return normed

    def forward_pool(
        self, features: Float[Tensor, "batch 1+side*side embed_dim"]
    ) -> Float[Tensor, "batch embed_dim"]:
        """Map tokens to one row per image: the class token."""
        return features[:, 0]

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw as timm does: linear layers and positions with std 0.02, the class token almost 0."""
        if module is self:
            init.normal_(self.class_token, std=1e-6, generator=generator)
            init.normal_(self.positions, std=0.02, generator=generator)
        elif isinstance(module, nn.Linear):
            init_normal(module, generator, std=0.02)
        else:
            init_default(module, generator)
