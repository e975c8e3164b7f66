"""One small batch for every name, whatever images it takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tinynets.models import ImageClassifier, LeNet5, create_model
from tinynets.models.registry import MODELS


class Zoo:
    """Builds models and images for the tests."""

    def build(
        self, name: str, *, size: int | None = None, seed: int = 0, **config: object
    ) -> ImageClassifier:
        """Build a model for images of `size`, its own size if None."""
        if size is not None and "image_size" in inspect.signature(MODELS[name].model).parameters:
            config["image_size"] = size
        return create_model(name, generator=torch.Generator().manual_seed(seed), **config)

    def size(self, name: str) -> int:
        """Return the size of the images that a model takes by default: the only one, its option's, or 32."""
        sizes, option = MODELS[name].sizes, inspect.signature(MODELS[name].model).parameters.get("image_size")
        return option.default if option else sizes[0] if len(sizes[:2]) == 1 else 32

    def images(self, model: ImageClassifier, size: int, batch: int = 2, seed: int = 0) -> Tensor:
        """Draw normal images of a size; without an option, images of 28 pixels are grey."""
        channels = getattr(model, "in_channels", 1 if size == 28 else 3)
        return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Leave the other cores to the other tests: two threads on a busy machine wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return Zoo()


@pytest.fixture
def lenet(tmp_path: Path) -> Path:
    """A good file of a LeNet-5."""
    path = tmp_path / "lenet.safetensors"
    LeNet5(generator=torch.Generator().manual_seed(0)).save(path)
    return path
