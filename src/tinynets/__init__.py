"""Small PyTorch models whose forward pass is a contract: every shape written, every shape enforced."""

import importlib
from typing import TYPE_CHECKING, Any

from ._contract.autoreload import support_autoreload
from ._contract.contract import contract
from ._contract.toggle import checks
from ._explain.explain import explain
from ._export.export import export
from ._export.load import load_exported
from ._version import __version__ as __version__
from .checkpoint import Normalization
from .errors import CheckpointError, ContractError, DirectForwardWarning, DtypeError, ModeError, ShapeError
from .modes import evaluating, freeze, frozen, inference, mode_report, training, unfreeze
from .module import Module

if TYPE_CHECKING:
    from . import models
    from . import testing as testing
    from ._inference.optimize import optimize_for_inference
    from ._packages.hook import install_import_hook
    from .models import CifarMLP, TinyVisionMLP, create_model, list_models, load

# Imported on first use: building the contracts of the models takes as long as everything else.
_LATER = {
    **dict.fromkeys(("CifarMLP", "TinyVisionMLP", "create_model", "list_models", "load"), ".models"),
    "optimize_for_inference": "._inference.optimize",
    "install_import_hook": "._packages.hook",
}

support_autoreload()
del support_autoreload


def __getattr__(name: str) -> Any:
    if name in ("models", "testing"):
        return importlib.import_module(f".{name}", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    "install_import_hook",
    "list_models",
    "load",
    "load_exported",
    "mode_report",
    "models",
    "optimize_for_inference",
    "training",
    "unfreeze",
]
