"""Compact convolutional transformers: convolutions make the tokens, attention pools them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import init

from ..layers import check_at_least_one, check_choice, check_multiple, check_probability, init_he, init_normal
from ..layers.attention import FeedForward, SelfAttention, drop_path
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights

OFFICIAL_KEYS = {
    r"^tokenizer\.conv_layers\.(\d+)\.0\.": r"tokenizer.\1.",
    r"^classifier\.": "",
    r"^fc\.": "head.",
    r"^positional_emb$": "positions",
    r"\.pre_norm\.": ".attention_norm.",
    r"\.self_attn\.proj\.": ".attention.out.",
    r"\.self_attn\.": ".attention.",
    r"\.norm1\.": ".mlp_norm.",
    r"\.linear(\d)\.": r".mlp.fc\1.",
}


class CctBlock(Module):
    """Self-attention and a perceptron per token, with stochastic depth.

    The second norm is part of the trunk: the perceptron's output is added to its normalised input. The
    authors' code does the same, unlike the usual pre-norm block.
    """

    embed_dim: int

    def __init__(
        self,
        embed_dim: int,
        *,
        num_heads: int,
        hidden: int,
        dropout: float,
        attention_dropout: float,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.dropout = dropout
        self.drop_path_rate = drop_path_rate
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.attention = SelfAttention(
            embed_dim, num_heads=num_heads, qkv_bias=False, dropout=attention_dropout
        )
        self.mlp_norm = nn.LayerNorm(embed_dim)
        self.mlp = FeedForward(embed_dim, hidden, dropout=dropout)

    def forward(
        self, tokens: Float[Tensor, "batch tokens embed_dim"]
    ) -> Float[Tensor, "batch tokens embed_dim"]:
        """Apply attention, then the perceptron."""
        attended: Float[Tensor, "batch tokens embed_dim"] = self.attention(self.attention_norm(tokens))
        kept: Float[Tensor, "batch tokens embed_dim"] = F.dropout(attended, self.dropout, self.training)
        trunk: Float[Tensor, "batch tokens embed_dim"] = self.mlp_norm(
            tokens + drop_path(kept, self.drop_path_rate, self.training)
        )
        outputs: Float[Tensor, "batch tokens embed_dim"] = trunk + drop_path(
            self.mlp(trunk), self.drop_path_rate, self.training
        )
        return outputs


class CCT(ImageClassifier):
    """Compact convolutional transformer; 283,723 parameters as CCT-2/3x2 and 3,760,139 as CCT-7/3x1.

    Images `[batch in_channels image_size image_size]` to logits `[batch num_classes]`; 3x3 convolutions,
    each with ReLU and max pooling, halve the image `num_convs` times, and each remaining pixel is a token.

    "Escaping the Big Data Paradigm with Compact Transformers", arXiv 2104.05704. Follows the authors' code,
    with learned positions, or with the fixed sines of its `cct_*_sine`, a frozen parameter there and here.

    Parity partner: reference in the test. Differs from the paper: none; learned positions.

    Args:
        depth: 2, 4, 6 or 7 blocks; it determines width, heads and perceptron, as in the paper.
        num_convs: convolutions that make the tokens; at two, the first has 64 channels.
        image_size: height and width of the images.
        dropout: probability in [0, 1) of zeroing a value of the trunk, in training mode only.
        attention_dropout: probability in [0, 1) of zeroing a weight of an attention map, in training only.
        stochastic_depth: probability in [0, 1) of skipping the last block; it rises linearly from 0.
        position_embedding: "learned", or "sine" for fixed sines, which are frozen.
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
        depth: int = 7,
        num_convs: int = 1,
        image_size: int = 32,
        dropout: float = 0.0,
        attention_dropout: float = 0.1,
        stochastic_depth: float = 0.1,
        position_embedding: Literal["learned", "sine"] = "learned",
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_choice("depth", depth, (2, 4, 6, 7))
        check_choice("position_embedding", position_embedding, ("learned", "sine"))
        check_at_least_one(num_convs=num_convs, image_size=image_size)
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        check_probability(
            dropout=dropout, attention_dropout=attention_dropout, stochastic_depth=stochastic_depth
        )
        # No power above image_size divides it, and with a number from a file it may have millions of digits.
        check_multiple(
            "image_size", image_size, "2 ** num_convs", 2 ** min(num_convs, image_size.bit_length())
        )
        self.depth = depth
        self.num_convs = num_convs
        self.image_size = image_size
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.stochastic_depth = stochastic_depth
        self.position_embedding = position_embedding
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.embed_dim = embed_dim = 128 if depth < 6 else 256
        num_heads = 2 if depth < 6 else 4
        hidden = embed_dim if depth < 6 else 2 * embed_dim
        self.side = image_size // 2**num_convs
        channels = [in_channels, *[64] * (num_convs - 1), embed_dim]
        with torch.device("meta"):
            self.tokenizer = nn.ModuleList(
                nn.Conv2d(channels[i], channels[i + 1], 3, padding=1, bias=False) for i in range(num_convs)
            )
            self.positions = nn.Parameter(
                torch.empty(1, self.side**2, embed_dim), requires_grad=position_embedding == "learned"
            )
            self.blocks = nn.Sequential(
                *(
                    CctBlock(
                        embed_dim,
                        num_heads=num_heads,
                        hidden=hidden,
                        dropout=dropout,
                        attention_dropout=attention_dropout,
                        drop_path_rate=stochastic_depth * i / (depth - 1),
                    )
                    for i in range(depth)
                )
            )
            self.norm = nn.LayerNorm(embed_dim)
            self.attention_pool = nn.Linear(embed_dim, 1)
            self.head = nn.Linear(embed_dim, num_classes)
        self.stages = tuple(Stage(f"blocks.{i}", embed_dim, 2**num_convs) for i in range(depth))
        self._allocate(generator)

    @classmethod
    def from_official(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of the authors' `cct_*_3x*_32`, with learned or with sine positions.

        Positions that equal the authors' table of sines stay frozen.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, OFFICIAL_KEYS)
        num_convs = weights.count("tokenizer")
        _, tokens, embed_dim = weights.shape("positions", 3)
        positions = weights["positions"]
        sines = sine_positions(tokens, embed_dim).to(positions)
        return weights.build(
            cls,
            depth=weights.count("blocks"),
            num_convs=num_convs,
            image_size=round(tokens**0.5) * 2**num_convs,
            position_embedding="sine" if torch.allclose(positions[0], sines, atol=1e-3) else "learned",
            in_channels=weights.shape("tokenizer.0.weight", 4)[1],
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
        maps: Float[Tensor, "batch _ _ _"] = images
        for conv in self.tokenizer:
            maps: Float[Tensor, "batch _ _ _"] = F.max_pool2d(
                F.relu(conv(maps), inplace=True), 3, stride=2, padding=1
            )
        tokens: Float[Tensor, "batch side*side embed_dim"] = maps.flatten(2).transpose(1, 2)
        placed: Float[Tensor, "batch side*side embed_dim"] = F.dropout(
            tokens + self.positions, self.dropout, self.training
        )
        attended: Float[Tensor, "batch side*side embed_dim"] = self.blocks(placed)
        normed: Float[Tensor, "batch side*side embed_dim"] = self.norm(attended)
        return normed

    def forward_pool(
        self, features: Float[Tensor, "batch side*side embed_dim"]
    ) -> Float[Tensor, "batch embed_dim"]:
        """Map tokens to one row per image: their mean, weighted by a learned score of each token."""
        scores: Float[Tensor, "batch side*side 1"] = self.attention_pool(features)
        weights: Float[Tensor, "batch 1 side*side"] = scores.softmax(dim=1).transpose(1, 2)
        pooled: Float[Tensor, "batch 1 embed_dim"] = weights @ features
        return pooled.squeeze(1)

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw weights as the authors' code does."""
        if module is self and self.position_embedding == "sine":
            self.positions.copy_(sine_positions(*self.positions.shape[1:]))
        elif module is self:
            # The authors' code truncates at 2, which is ten or a hundred standard deviations, so no value is
            # cut.
            init.normal_(self.positions, std=0.2, generator=generator)
        elif isinstance(module, nn.Linear):
            init_normal(module, generator, std=0.02)
        else:
            init_he(module, generator, mode="fan_in")


def sine_positions(tokens: int, embed_dim: int) -> Float[Tensor, "tokens embed_dim"]:
    """Return alternating sines and cosines of the index of each token (arXiv 1706.03762)."""
    pairs = torch.arange(embed_dim, dtype=torch.float64) // 2
    angles = torch.arange(tokens, dtype=torch.float64).outer(10_000.0 ** (-2 * pairs / embed_dim))
    return torch.where(torch.arange(embed_dim) % 2 == 0, angles.sin(), angles.cos())
