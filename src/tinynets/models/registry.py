"""The zoo by name: the list `MODELS` with families, image sizes and fixed arguments, `create_model`,
`list_models` and `tn.load`, and the suggestions for a wrong name.

A row of `MODELS` and the file that it names add a new model: `create_model`, `list_models`, `load` and the
attributes of `tinynets.models` read it, and `make generate` writes the types of `create_model` and the pages.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Literal, NamedTuple

from ..checkpoint import read_checkpoint, rebuild
from ..weight_file import refusal
from .base import ImageClassifier
from .pretrained import load_pretrained

Family = Literal["perceptron", "convolutional", "residual", "mixer", "transformer"]


class Entry(NamedTuple):
    """A row of the list: what a name stands for."""

    module: str  # the file in this folder
    class_name: str  # the class in it
    family: Family
    sizes: range  # the heights of square images that it accepts
    fixed: dict[str, Any]  # constructor arguments that the name fixes

    @property
    def model(self) -> type[ImageClassifier]:
        """The class, whose file is imported when it is first accessed."""
        model: type[ImageClassifier] = getattr(import_module(f".{self.module}", __package__), self.class_name)
        return model

    @property
    def size_text(self) -> str:
        """The images that it accepts without an `image_size` argument, in words."""
        first = self.sizes[0]
        return f"{first}x{first} images" if len(self.sizes[:2]) == 1 else f"images of any size >= {first}"


def _from(smallest: int, step: int = 1) -> range:
    return range(smallest, sys.maxsize, step)


MODELS: dict[str, Entry] = {
    "tiny_vision_mlp": Entry("mlp", "TinyVisionMLP", "perceptron", range(28, 29), {}),
    "cifar_mlp": Entry("mlp", "CifarMLP", "perceptron", range(32, 33), {}),
    "lenet5": Entry("lenet", "LeNet5", "convolutional", _from(16), {}),
    "mnist_cnn": Entry("mnist_cnn", "MnistCnn", "convolutional", _from(6), {}),
    "vgg16_cifar": Entry("vgg", "Vgg16Cifar", "convolutional", _from(32), {}),
    "googlenet_cifar": Entry("googlenet", "GoogLeNetCifar", "convolutional", _from(1), {}),
    "mobilenet_v2_cifar": Entry("mobilenet", "MobileNetV2Cifar", "convolutional", _from(1), {}),
    "shufflenet_v2_cifar": Entry("shufflenet", "ShuffleNetV2Cifar", "convolutional", _from(1), {}),
    "efficientnet_b0_cifar": Entry("efficientnet", "EfficientNetB0Cifar", "convolutional", _from(1), {}),
    "repvgg_a0_cifar": Entry("repvgg", "RepVggA0Cifar", "convolutional", _from(1), {}),
    "convnext_atto_cifar": Entry("convnext", "ConvNextAttoCifar", "convolutional", _from(16), {}),
    "airbench94": Entry("airbench", "Airbench94Net", "convolutional", _from(9), {}),
    "resnet20": Entry("resnet", "CifarResNet", "residual", _from(1), {"depth": 20}),
    "resnet32": Entry("resnet", "CifarResNet", "residual", _from(1), {"depth": 32}),
    "resnet44": Entry("resnet", "CifarResNet", "residual", _from(1), {"depth": 44}),
    "resnet56": Entry("resnet", "CifarResNet", "residual", _from(1), {"depth": 56}),
    "resnet110": Entry("resnet", "CifarResNet", "residual", _from(1), {"depth": 110}),
    "resnet18_cifar": Entry("resnet", "ResNet18Cifar", "residual", _from(1), {}),
    "resnet34_cifar": Entry("resnet_deep", "DeepResNetCifar", "residual", _from(1), {"depth": 34}),
    "resnet50_cifar": Entry("resnet_deep", "DeepResNetCifar", "residual", _from(1), {"depth": 50}),
    "resnet9": Entry("resnet9", "ResNet9", "residual", _from(8), {}),
    "preact_resnet18": Entry("preact_resnet", "PreActResNet18", "residual", _from(1), {}),
    "se_resnet20": Entry("se_resnet", "SeResNet", "residual", _from(1), {"depth": 20}),
    "resnext29_2x64d": Entry("resnext", "ResNeXt29", "residual", _from(1), {"cardinality": 2}),
    "resnext29_8x64d": Entry("resnext", "ResNeXt29", "residual", _from(1), {"cardinality": 8}),
    "wrn_16_4": Entry("wide_resnet", "WideResNet", "residual", _from(1), {"depth": 16, "widen_factor": 4}),
    "wrn_28_10": Entry("wide_resnet", "WideResNet", "residual", _from(1), {"depth": 28, "widen_factor": 10}),
    "densenet_bc_100_12": Entry("densenet", "DenseNetBC", "residual", _from(4), {"depth": 100, "growth": 12}),
    "convmixer_256_8": Entry("convmixer", "ConvMixer", "mixer", _from(2), {"channels": 256, "depth": 8}),
    "mlp_mixer": Entry("mixer", "MlpMixer", "mixer", _from(4, 4), {}),
    "simple_vit": Entry("vit", "SimpleViT", "transformer", _from(4, 4), {}),
    "vit_tiny": Entry("vit_tiny", "ViTTiny", "transformer", _from(4, 4), {}),
    "cct_2_3x2": Entry("cct", "CCT", "transformer", _from(4, 4), {"depth": 2, "num_convs": 2}),
    "cct_7_3x1": Entry("cct", "CCT", "transformer", _from(2, 2), {"depth": 7, "num_convs": 1}),
}


def create_model(
    name: str, *, pretrained: str | Literal[False] | None = None, **config: Any
) -> ImageClassifier:
    """Build a model by name; type checkers infer its class from a literal name.

    Args:
        name: one of `list_models()`.
        pretrained: weights that come with the package, such as "mnist5k" for lenet5; the model is then in
            eval mode, and its `normalization` says which images it expects.
        config: arguments of the model's constructor, such as `num_classes=100`, except those that the name
            fixes.

    Raises:
        ValueError: there is no such name, the name fixes the argument, or its value is out of range; or there
            are no such weights; the message lists those that the model accepts.
        TypeError: the model has no such argument.

    Examples:
        >>> tn.create_model("resnet20", num_classes=100).num_classes
        100
    """
    if name not in MODELS:
        raise ValueError(f"no model is called {name!r}{_suggest(name, MODELS)} list_models() names them all")
    entry = MODELS[name]
    options = inspect.signature(entry.model).parameters
    for option in config:
        if option not in options:
            free = [other for other in options if other not in entry.fixed]
            if option == "image_size":
                raise TypeError(f"{name} has no option 'image_size': it takes {entry.size_text}")
            raise TypeError(
                f"{name} has no option {option!r}{_suggest(option, free)} It has {', '.join(free)}"
            )
        if option in entry.fixed:
            raise ValueError(
                f"{name} is {entry.class_name} with {option}={entry.fixed[option]!r}; build "
                f"{entry.class_name} itself for another"
            )
    if pretrained is None or pretrained is False:
        return entry.model(**entry.fixed, **config)
    return load_pretrained(name, entry.model, pretrained, config)


def list_models(*, family: Family | None = None, image_size: int | None = None) -> list[str]:
    """List the names that `create_model` accepts.

    Args:
        family: only models of this family.
        image_size: only models that accept square images of this size, given an `image_size` argument if they
            have one.

    Raises:
        ValueError: there is no such family.

    Examples:
        >>> tn.list_models(family="perceptron")
        ['tiny_vision_mlp', 'cifar_mlp']
    """
    families = dict.fromkeys(entry.family for entry in MODELS.values())
    if family is not None and family not in families:
        raise ValueError(
            f"no family is called {family!r}{_suggest(family, families)} There are {', '.join(families)}"
        )
    return [
        name
        for name, entry in MODELS.items()
        if family in (None, entry.family) and (image_size is None or image_size in entry.sizes)
    ]


def load(path: str | os.PathLike[str], *, allow_nonfinite: bool = False) -> ImageClassifier:
    """Rebuild a model of the zoo from a file that `save` wrote, on the CPU and in eval mode.

    Load a model of your own by its class, `YourModel.load(path)`: a file cannot cause an import.

    Args:
        path: the file, which is read once and compared with the SHA-256 in its header; the model does not use
            it afterwards.
        allow_nonfinite: accept weights that are NaN or infinite.

    Raises:
        CheckpointError: the file is damaged, newer than this library, of an unknown class, or does not fit,
            or holds NaN or infinities.
        FileNotFoundError: there is no such file.

    Examples:
        >>> model = tn.create_model("lenet5")
        >>> model.save("lenet5.safetensors")
        >>> tn.load("lenet5.safetensors").training
        False
    """
    checkpoint = read_checkpoint(path)
    class_name = checkpoint.header.class_name
    classes = {entry.class_name: entry for entry in MODELS.values()}
    if class_name not in classes:
        suggestion = _suggest(class_name[:100], classes)  # comparing takes quadratic time
        raise refusal(
            f"{path} holds a {class_name[:100]!r}, which is no model of tinynets{suggestion} If it is yours, "
            "load it by its class"
        )
    return rebuild(classes[class_name].model, checkpoint, allow_nonfinite=allow_nonfinite)


def _suggest(wrong: str, known: Iterable[str]) -> str:
    """Suggest the name that was probably meant, or those that differ only in a number."""
    longer = [name for name in known if name.startswith(f"{wrong}_")]
    # Another number is not a typo: resnet50 does not mean resnet56.
    alike = [name for name in known if re.sub(r"\d+", "0", name) == re.sub(r"\d+", "0", wrong)]
    if alike and not longer:
        return f"; there {'is' if len(alike) == 1 else 'are'} {', '.join(alike)}."
    # Among similar names, take the longest common prefix: resnet2O is resnet20 rather than resnet32.
    close = longer or get_close_matches(wrong, known)
    best = max(close, key=lambda name: len(os.path.commonprefix((wrong, name))), default=None)  # noqa: RUF071
    return f"; did you mean {best!r}?" if best else "."
