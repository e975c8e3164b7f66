"""The zoo, as type checkers see it: made from `registry.MODELS` by `make generate`, not by hand."""

from typing import Any, Literal, overload

from . import registry as registry
from .airbench import Airbench94Net as Airbench94Net
from .base import ImageClassifier as ImageClassifier
from .base import Stage as Stage
from .cct import CCT as CCT
from .config import Config as Config
from .convmixer import ConvMixer as ConvMixer
from .densenet import DenseNetBC as DenseNetBC
from .lenet import LeNet5 as LeNet5
from .mixer import MlpMixer as MlpMixer
from .mlp import CifarMLP as CifarMLP
from .mlp import TinyVisionMLP as TinyVisionMLP
from .mobilenet import MobileNetV2Cifar as MobileNetV2Cifar
from .registry import list_models as list_models
from .registry import load as load
from .resnet import CifarResNet as CifarResNet
from .resnet import ResNet18Cifar as ResNet18Cifar
from .vgg import Vgg16Cifar as Vgg16Cifar
from .vit import SimpleViT as SimpleViT
from .wide_resnet import WideResNet as WideResNet

@overload
def create_model(
    name: Literal["tiny_vision_mlp"], *, pretrained: Literal["mnist5k", False] | None = None, **config: Any
) -> TinyVisionMLP: ...
@overload
def create_model(name: Literal["cifar_mlp"], **config: Any) -> CifarMLP: ...
@overload
def create_model(
    name: Literal["lenet5"], *, pretrained: Literal["mnist5k", False] | None = None, **config: Any
) -> LeNet5: ...
@overload
def create_model(name: Literal["vgg16_cifar"], **config: Any) -> Vgg16Cifar: ...
@overload
def create_model(name: Literal["mobilenet_v2_cifar"], **config: Any) -> MobileNetV2Cifar: ...
@overload
def create_model(name: Literal["airbench94"], **config: Any) -> Airbench94Net: ...
@overload
def create_model(name: Literal["resnet20"], **config: Any) -> CifarResNet: ...
@overload
def create_model(name: Literal["resnet32"], **config: Any) -> CifarResNet: ...
@overload
def create_model(name: Literal["resnet44"], **config: Any) -> CifarResNet: ...
@overload
def create_model(name: Literal["resnet56"], **config: Any) -> CifarResNet: ...
@overload
def create_model(name: Literal["resnet110"], **config: Any) -> CifarResNet: ...
@overload
def create_model(name: Literal["resnet18_cifar"], **config: Any) -> ResNet18Cifar: ...
@overload
def create_model(name: Literal["wrn_16_4"], **config: Any) -> WideResNet: ...
@overload
def create_model(name: Literal["wrn_28_10"], **config: Any) -> WideResNet: ...
@overload
def create_model(name: Literal["densenet_bc_100_12"], **config: Any) -> DenseNetBC: ...
@overload
def create_model(name: Literal["convmixer_256_8"], **config: Any) -> ConvMixer: ...
@overload
def create_model(name: Literal["mlp_mixer"], **config: Any) -> MlpMixer: ...
@overload
def create_model(name: Literal["simple_vit"], **config: Any) -> SimpleViT: ...
@overload
def create_model(name: Literal["cct_2_3x2"], **config: Any) -> CCT: ...
@overload
def create_model(name: Literal["cct_7_3x1"], **config: Any) -> CCT: ...
@overload
def create_model(name: str, **config: Any) -> ImageClassifier: ...
