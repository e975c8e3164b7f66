"""`Options`: what is declared about a model and how to check it, by the caller and by the model's class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import nn

from ..inputs.examples import BatchAxes, MakeInputs
from .check_ids import Group, resolve_id
from .exemptions import Exemption

DECLARATIONS = "__checks__"
"""The class attribute in which a model declares arguments of `check_model`, as a dict."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is declared about a model, and how to check it; `check_model` documents every field."""

    named: Mapping[str, Any] = field(default_factory=dict[str, Any])
    train_inputs: tuple[Any, ...] | None = None
    batch_axes: BatchAxes | Literal["infer"] = "infer"
    groups: Group | Iterable[Group] | None = None
    checks: str | Iterable[str] | None = None
    make_inputs: MakeInputs | None = None
    slow: bool = False
    supports: Iterable[str] = ()
    stateful: bool = False
    expected_failures: Mapping[str, str | Exemption] = field(default_factory=dict[str, "str | Exemption"])
    skip: Mapping[str, str] = field(default_factory=dict[str, str])
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    loss: Callable[[Any], torch.Tensor] | None = None
    timeout: float | None = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.timeout is not None and not self.timeout > 0:
            raise ValueError(f"timeout is a positive number of seconds or None, got {self.timeout}")


def with_declared(options: Options, model: nn.Module) -> Options:
    """Return the options with the declarations of the model's class added; passed arguments take precedence.

    Raises:
        ValueError: the class declares an argument that does not exist.
    """
    declared: Mapping[str, Any] = getattr(type(model), DECLARATIONS, {})
    defaults = Options()
    names = [field.name for field in fields(Options)]
    changes: dict[str, Any] = {}
    for name, value in declared.items():
        resolve_id(name, names, f"{type(model).__name__}.{DECLARATIONS}", "argument")
        passed = getattr(options, name)
        if isinstance(passed, Mapping):
            changes[name] = {**value, **passed}
        elif name == "supports":
            changes[name] = frozenset(value) | frozenset(passed)
        elif passed == getattr(defaults, name):
            changes[name] = value
    return replace(options, **changes)
