"""`ImageClassifier`, base of the zoo: `feature_maps`, `reset_head`, `init`, `param_groups`, mean pooling."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from math import isqrt
from typing import Any, ClassVar, NamedTuple, Self

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .._torch.state.devices import default_device, to_empty_
from ..checkpoint import Normalization
from ..layers import check_at_least_one, init_default, init_norm
from ..module import Module
from ..state_dict import load_weights
from .config import Config, config


class Stage(NamedTuple):
    """A stage whose output is a feature map: its submodule, its channels, and image pixels per map pixel."""

    name: str
    channels: int
    stride: int


class ImageClassifier(Module):
    """Base of the zoo: a backbone that maps images to features and one linear layer that maps them to logits.

    A subclass implements `forward`, `forward_features` and, if features are not pooled by their mean over the
    pixels, `forward_pool`. It stores each constructor argument as an attribute of the same name: its
    `config`.

    Attributes:
        stages: the submodules whose outputs `feature_maps` returns, in order.
        normalization: mean and standard deviation of the images that the weights expect; saved with them, but
            not applied.
    """

    head_name: ClassVar[str] = "head"
    stages: tuple[Stage, ...] = ()
    normalization: Normalization | None = None
    num_classes: int

    def forward_features(self, images: Float[Tensor, "batch *_"]) -> Float[Tensor, "batch *_"]:
        """Map images to features, the input of `forward_head`."""
        raise NotImplementedError

    def forward_head(
        self, features: Float[Tensor, "batch *_"], pre_logits: bool = False
    ) -> Float[Tensor, "batch _"]:
        """Map features to logits, or to the `num_features` numbers before them."""
        pooled = self.forward_pool(features)
        return pooled if pre_logits else self.classifier(pooled)

    def forward_pool(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels"]:
        """Map features to one row per image: the mean over the pixels."""
        return features.mean((2, 3))

    def feature_maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the output of every stage as `[batch channels height width]`, from one forward pass."""
        maps: dict[str, Tensor] = {}

        def keep(name: str, module: nn.Module, args: Any, output: Tensor) -> None:
            maps[name] = _as_map(output)

        with ExitStack() as hooks:
            for stage in self.stages:
                module = self.get_submodule(stage.name)
                hooks.enter_context(module.register_forward_hook(partial(keep, stage.name)))
            self.forward_features(images)
        return maps

    @property
    def classifier(self) -> nn.Linear:
        """The last layer, which returns the logits."""
        head = getattr(self, self.head_name)  # called in every forward pass: get_submodule takes longer
        assert isinstance(head, nn.Linear)
        return head

    @property
    def num_features(self) -> int:
        """Width of the input of the last layer."""
        return self.classifier.in_features

    @property
    def config(self) -> Config[Self]:
        """The constructor's arguments as a frozen dataclass: `model.config.build()` builds another model.

        Raises:
            CheckpointError: an argument is not stored as an attribute.
        """
        return config(self)

    def reset_head(self, num_classes: int, *, generator: torch.Generator | None = None) -> None:
        """Replace the last layer by a new one of the same kind, on the same device and in the same dtype.

        Raises:
            ValueError: `num_classes` is not an int of at least 1.
        """
        check_at_least_one(num_classes=num_classes)
        old = self.classifier
        head = nn.Linear(
            old.in_features,
            num_classes,
            "bias" in dict(old.named_parameters()),
            device="meta",
            dtype=old.weight.dtype,
        )
        to_empty_(head, old.weight.device)
        setattr(self, self.head_name, head.train(old.training))
        self.num_classes = num_classes
        self.init_head(self.classifier, generator)

    def init(self, generator: torch.Generator | None = None) -> Self:
        """Draw all weights again by the paper's scheme, and reset running statistics.

        The head is drawn last, so that the backbone does not depend on `num_classes`. A model that was built
        on the meta device and moved by `to_empty` gets the same weights as if it had been built directly.
        """
        head = self.classifier
        with torch.no_grad():
            self._init_buffers()
            for module in self.modules():
                if module is not head:
                    init_norm(module)
                    self.init_module(module, generator)
            self.init_head(head, generator)
        return self

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw the weights of `module` itself, not of its children; by default as torch does."""
        init_default(module, generator)

    def init_head(self, head: nn.Linear, generator: torch.Generator | None) -> None:
        """Draw the weights of the last layer; by default like those of any other module."""
        self.init_module(head, generator)

    def param_groups(self, *, weight_decay: float) -> list[dict[str, Any]]:
        """Split the parameters for an optimizer: only weights of linear and convolution layers decay.

        Biases, norms and positions do not. Every parameter is in exactly one group, frozen ones included.
        """
        decaying = {
            id(module.weight) for module in self.modules() if isinstance(module, nn.Linear | nn.Conv2d)
        }
        decay = [parameter for parameter in self.parameters() if id(parameter) in decaying]
        rest = [parameter for parameter in self.parameters() if id(parameter) not in decaying]
        return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]

    def _init_buffers(self) -> None:
        """Compute the buffers that are not in the state dict; `load` calls this and draws no weights."""

    def _allocate(self, generator: torch.Generator | None) -> None:
        """Allocate layers that were built on the meta device, and draw their weights for the first time.

        If meta is the default device, as when a file is loaded, do nothing.
        """
        if default_device().type != "meta":
            to_empty_(self)
            self.init(generator)

    def with_weights(self, state_dict: Mapping[str, Tensor]) -> Self:
        """Copy weights into this model and return it.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        load_weights(self, state_dict)
        return self


def _as_map(output: Tensor) -> Tensor:
    """Arrange tokens on their square grid, without the class token; return a map unchanged."""
    if output.ndim == 4:
        return output
    side = isqrt(output.shape[1])
    tokens = output[:, output.shape[1] - side**2 :]
    return rearrange(tokens, "batch (height width) channels -> batch channels height width", height=side)
