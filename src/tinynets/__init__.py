"""Small PyTorch models whose forward pass is a contract: every shape written, every shape enforced."""

import importlib
from typing import TYPE_CHECKING, Any

from . import models as models
from ._contract.autoreload import support_autoreload
from ._contract.contract import contract as contract
from ._contract.toggle import checks as checks
from ._explain.explain import explain as explain
from ._export.export import export as export
from ._export.load import load_exported as load_exported
from ._version import __version__ as __version__
from .checkpoint import Normalization as Normalization
from .errors import CheckpointError as CheckpointError
from .errors import ContractError as ContractError
from .errors import DirectForwardWarning as DirectForwardWarning
from .errors import DtypeError as DtypeError
from .errors import ModeError as ModeError
from .errors import ShapeError as ShapeError
from .models import CifarMLP as CifarMLP
from .models import TinyVisionMLP as TinyVisionMLP
from .models import create_model as create_model
from .models import list_models as list_models
from .models import load as load
from .modes import evaluating as evaluating
from .modes import freeze as freeze
from .modes import frozen as frozen
from .modes import inference as inference
from .modes import mode_report as mode_report
from .modes import training as training
from .modes import unfreeze as unfreeze
from .module import Module as Module

if TYPE_CHECKING:
    from . import testing as testing
    from ._inference.optimize import optimize_for_inference as optimize_for_inference

support_autoreload()
del support_autoreload


def __getattr__(name: str) -> Any:
    """Import on first use what training and most inference do not need."""
    if name == "testing":
        return importlib.import_module(".testing", __name__)
    if name == "optimize_for_inference":
        return importlib.import_module("._inference.optimize", __name__).optimize_for_inference
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CheckpointError",
    "CifarMLP",
    "ContractError",
    "DirectForwardWarning",
    "DtypeError",
    "ModeError",
    "Module",
    "Normalization",
    "ShapeError",
    "TinyVisionMLP",
    "checks",
    "contract",
    "create_model",
    "evaluating",
    "explain",
    "export",
    "freeze",
    "frozen",
    "inference",
    "list_models",
    "load",
    "load_exported",
    "mode_report",
    "models",
    "optimize_for_inference",
    "training",
    "unfreeze",
]
