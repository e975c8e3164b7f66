"""`SelfAttention` and `FeedForward`, the halves of a transformer block, and `drop_path`: stochastic depth."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..module import Module


class SelfAttention(Module):
    """Multi-head self-attention (arXiv 1706.03762) through torch's fused kernel.

    Args:
        embed_dim: size of a token; a multiple of `num_heads`.
        num_heads: attention maps per layer.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: probability of zeroing a weight of the attention map, in training mode only.
    """

    embed_dim: int
    num_heads: int
    head_dim: int

    def __init__(
        self, embed_dim: int, *, num_heads: int, qkv_bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        self.out = nn.Linear(embed_dim, embed_dim)

    def forward(
        self, tokens: Float[Tensor, "batch tokens embed_dim"]
    ) -> Float[Tensor, "batch tokens embed_dim"]:
        """Attend from every token to all tokens."""
        qkv: Float[Tensor, "batch tokens 3*embed_dim"] = self.qkv(tokens)
        heads: Float[Tensor, "3 batch num_heads tokens head_dim"] = rearrange(
            qkv, "b n (three h d) -> three b h n d", three=3, h=self.num_heads
        )
        query, key, value = heads.unbind(0)
        gathered: Float[Tensor, "batch num_heads tokens head_dim"] = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        merged: Float[Tensor, "batch tokens embed_dim"] = rearrange(gathered, "b h n d -> b n (h d)")
        mixed: Float[Tensor, "batch tokens embed_dim"] = self.out(merged)
        return mixed


Activation = Literal["gelu", "gelu_tanh"]


class FeedForward(Module):
    """`Linear, GELU, Dropout, Linear, Dropout` over the last axis.

    Args:
        embed_dim: size of the last axis of input and output.
        hidden: size of the last axis in between.
        dropout: probability of zeroing a unit, in training mode only.
        activation: "gelu" is the exact one, "gelu_tanh" its approximation by a tanh, which is flax's default.
    """

    embed_dim: int
    hidden: int

    def __init__(
        self, embed_dim: int, hidden: int, *, dropout: float = 0.0, activation: Activation = "gelu"
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.hidden = hidden
        self.dropout = dropout
        self.approximate = "tanh" if activation == "gelu_tanh" else "none"
        self.fc1 = nn.Linear(embed_dim, hidden)
        self.fc2 = nn.Linear(hidden, embed_dim)

    def forward(
        self, tokens: Float[Tensor, "batch tokens embed_dim"]
    ) -> Float[Tensor, "batch tokens embed_dim"]:
        """Map each token separately."""
        expanded: Float[Tensor, "batch tokens hidden"] = F.gelu(
            self.fc1(tokens), approximate=self.approximate
        )
        kept: Float[Tensor, "batch tokens hidden"] = F.dropout(expanded, self.dropout, self.training)
        contracted: Float[Tensor, "batch tokens embed_dim"] = self.fc2(kept)
        return F.dropout(contracted, self.dropout, self.training)


def drop_path(branch: Tensor, rate: float, training: bool) -> Tensor:
    """Zero the whole branch of some images and scale up the others (stochastic depth, arXiv 1603.09382)."""
    if rate == 0.0 or not training:
        return branch
    kept = torch.empty(branch.shape[0], *[1] * (branch.ndim - 1), dtype=branch.dtype, device=branch.device)
    return branch * kept.bernoulli_(1 - rate).div_(1 - rate)
