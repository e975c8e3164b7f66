"""The zoo: one family per file, every model an ordinary class.

A family is imported when one of its classes is first accessed: checking its contracts takes a moment, and few
programs use more than one family. Type checkers read `__init__.pyi`, which `make generate` writes.
"""

from typing import Any

from . import registry as registry
from .base import ImageClassifier as ImageClassifier
from .base import Stage as Stage
from .config import Config as Config
from .registry import create_model as create_model
from .registry import list_models as list_models
from .registry import load as load


def __getattr__(name: str) -> Any:
    for entry in registry.MODELS.values():
        if entry.class_name == name:
            return entry.model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(entry.class_name for entry in registry.MODELS.values())})
