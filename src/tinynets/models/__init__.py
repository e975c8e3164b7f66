"""The zoo: one family per file, every model an ordinary class.

A family is imported when one of its classes is first asked for: checking their contracts takes a moment each,
and few programs use more than one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import ImageClassifier as ImageClassifier
from .base import Stage as Stage
from .config import Config as Config
from .registry import create_model as create_model
from .registry import list_models as list_models
from .registry import load as load

if TYPE_CHECKING:
    from .airbench import Airbench94Net as Airbench94Net
    from .cct import CCT as CCT
    from .convmixer import ConvMixer as ConvMixer
    from .densenet import DenseNetBC as DenseNetBC
    from .lenet import LeNet5 as LeNet5
    from .mixer import MlpMixer as MlpMixer
    from .mlp import CifarMLP as CifarMLP
    from .mlp import TinyVisionMLP as TinyVisionMLP
    from .mobilenet import MobileNetV2Cifar as MobileNetV2Cifar
    from .resnet import CifarResNet as CifarResNet
    from .resnet import ResNet18Cifar as ResNet18Cifar
    from .vgg import Vgg16Cifar as Vgg16Cifar
    from .vit import SimpleViT as SimpleViT
    from .wide_resnet import WideResNet as WideResNet

_FAMILIES = {
    "Airbench94Net": "airbench",
    "CCT": "cct",
    "CifarMLP": "mlp",
    "CifarResNet": "resnet",
    "ConvMixer": "convmixer",
    "DenseNetBC": "densenet",
    "LeNet5": "lenet",
    "MlpMixer": "mixer",
    "MobileNetV2Cifar": "mobilenet",
    "ResNet18Cifar": "resnet",
    "SimpleViT": "vit",
    "TinyVisionMLP": "mlp",
    "Vgg16Cifar": "vgg",
    "WideResNet": "wide_resnet",
}


def __getattr__(name: str) -> Any:
    if name not in _FAMILIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FAMILIES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FAMILIES])
