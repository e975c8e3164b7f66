"""The zoo: one family per file, every model an ordinary class."""

from .airbench import Airbench94Net as Airbench94Net
from .base import ImageClassifier as ImageClassifier
from .base import Stage as Stage
from .cct import CCT as CCT
from .convmixer import ConvMixer as ConvMixer
from .densenet import DenseNetBC as DenseNetBC
from .lenet import LeNet5 as LeNet5
from .mixer import MlpMixer as MlpMixer
from .mlp import CifarMLP as CifarMLP
from .mlp import TinyVisionMLP as TinyVisionMLP
from .mobilenet import MobileNetV2Cifar as MobileNetV2Cifar
from .registry import create_model as create_model
from .registry import list_models as list_models
from .registry import load as load
from .resnet import CifarResNet as CifarResNet
from .resnet import ResNet18Cifar as ResNet18Cifar
from .vgg import Vgg16Cifar as Vgg16Cifar
from .vit import SimpleViT as SimpleViT
from .wide_resnet import WideResNet as WideResNet
