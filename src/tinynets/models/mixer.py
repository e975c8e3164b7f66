"""MLP-Mixer: alternating perceptrons over positions and over channels, without attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_choice, check_multiple, init_lecun, init_zero
from ..layers.attention import Activation, FeedForward
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights

# timm's names on the left; ours on the right.
TIMM_KEYS = {
    r"^stem\.proj\.": "patches.",
    r"\.norm1\.": ".token_norm.",
    r"\.mlp_tokens\.": ".token_mlp.",
    r"\.norm2\.": ".channel_norm.",
    r"\.mlp_channels\.": ".channel_mlp.",
}


class MixerBlock(Module):
    """A perceptron over the positions of each channel, then one over the channels of each position."""

    tokens: int
    embed_dim: int

    def __init__(
        self, tokens: int, embed_dim: int, *, token_hidden: int, channel_hidden: int, activation: Activation
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.embed_dim = embed_dim
        self.token_norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.token_mlp = FeedForward(tokens, token_hidden, activation=activation)
        self.channel_norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.channel_mlp = FeedForward(embed_dim, channel_hidden, activation=activation)

    def forward(
        self, inputs: Float[Tensor, "batch tokens embed_dim"]
    ) -> Float[Tensor, "batch tokens embed_dim"]:
        """Mix over positions, then over channels."""
        places: Float[Tensor, "batch embed_dim tokens"] = self.token_norm(inputs).transpose(1, 2)
        mixed: Float[Tensor, "batch tokens embed_dim"] = self.token_mlp(places).transpose(1, 2)
        middle: Float[Tensor, "batch tokens embed_dim"] = inputs + mixed
        outputs: Float[Tensor, "batch tokens embed_dim"] = middle + self.channel_mlp(
            self.channel_norm(middle)
        )
        return outputs


class MlpMixer(ImageClassifier):
    """MLP-Mixer for small images; 1,132,170 parameters at its defaults.

    Images `[batch in_channels image_size image_size]` to logits `[batch num_classes]`; every block works on
    tokens `[batch (image_size/patch_size)^2 embed_dim]`.

    "MLP-Mixer: An all-MLP Architecture for Vision", arXiv 2105.01601, at a size of our choice. The ratios
    are the paper's: `embed_dim / 2` over positions and `4 embed_dim` over channels. Code that swaps them has
    673,418 parameters at these settings. The authors' JAX code uses flax's GELU, the tanh form: with
    `activation="gelu_tanh"` the outputs agree to 1e-15, with timm's exact GELU to 2e-4.

    Parity partner: timm. Differs from the paper: a size of our choice.

    Args:
        image_size: height and width of the images; a multiple of `patch_size`.
        patch_size: height and width of a patch.
        embed_dim: size of a token; even.
        depth: number of blocks.
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

    def __init__(
        self,
        *,
        image_size: int = 32,
        patch_size: int = 4,
        embed_dim: int = 128,
        depth: int = 8,
        in_channels: int = 3,
        num_classes: int = 10,
        activation: Activation = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(image_size=image_size, patch_size=patch_size, embed_dim=embed_dim, depth=depth)
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        check_multiple("image_size", image_size, "patch_size", patch_size)
        check_choice("activation", activation, ("gelu", "gelu_tanh"))
        if embed_dim % 2:
            raise ValueError(f"embed_dim must be even, got {embed_dim}")
        self.image_size = image_size
        self.patch_size = patch_size
        self.embed_dim = embed_dim
        self.depth = depth
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.activation = activation
        self.side = image_size // patch_size
        with torch.device("meta"):
            self.patches = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)
            self.blocks = nn.Sequential(
                *(
                    MixerBlock(
                        self.side**2,
                        embed_dim,
                        token_hidden=embed_dim // 2,
                        channel_hidden=4 * embed_dim,
                        activation=activation,
                    )
                    for _ in range(depth)
                )
            )
            self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
            self.head = nn.Linear(embed_dim, num_classes)
        self.stages = tuple(Stage(f"blocks.{i}", embed_dim, patch_size) for i in range(depth))
        self._allocate(generator)

    @classmethod
    def from_timm(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of timm's `MlpMixer`.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, TIMM_KEYS)
        embed_dim, in_channels, patch_size, _ = weights.shape("patches.weight", 4)
        tokens = weights.shape("blocks.0.token_mlp.fc1.weight", 2)[1]
        return weights.build(
            cls,
            image_size=round(tokens**0.5) * patch_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=weights.count("blocks"),
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
        tokens: Float[Tensor, "batch side*side embed_dim"] = patches.flatten(2).transpose(1, 2)
        mixed: Float[Tensor, "batch side*side embed_dim"] = self.blocks(tokens)
        normed: Float[Tensor, "batch side*side embed_dim"] = self.norm(mixed)
        return normed

    def forward_pool(
        self, features: Float[Tensor, "batch side*side embed_dim"]
    ) -> Float[Tensor, "batch embed_dim"]:
        """Map tokens to one row per image: their mean."""
        return features.mean(1)

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw flax's default, as the authors' code does."""
        init_lecun(module, generator)

    def init_head(self, head: nn.Linear, generator: torch.Generator | None) -> None:
        """Start the head at 0, so that the first logits are all equal."""
        init_zero(head)
