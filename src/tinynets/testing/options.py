"""`Options`: the defaults of `check_model`'s arguments (`timeout=30`), exemptions with `raises=` and
`match=`, and how they are merged with the `__checks__` of a model's class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import nn

from ..errors import Failure
from ..inputs.examples import BatchAxes, MakeInputs
from .check_ids import Group, resolve_id

DECLARATIONS = "__checks__"
"""The class attribute in which a model declares arguments of `check_model`, as a dict."""


@dataclass(frozen=True)
class Exemption:
    """A check that is expected to fail, and why.

    Args:
        reason: why, for whoever reads the report next year.
        raises: the exception that the model is expected to raise, if any.
        match: a regular expression that must match somewhere in the objection.

    Raises:
        ValueError: the reason is empty.
    """

    reason: str
    raises: type[BaseException] | None = None
    match: str | None = None

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("an exemption needs a reason: say why the check is expected to fail")

    def mismatch(self, failure: Failure) -> str | None:
        """Return how a failure differs from the expected one, None if it is the expected one."""
        if self.raises is not None and not isinstance(failure.error, self.raises):
            got = "no exception" if failure.error is None else type(failure.error).__name__
            return f"expected {self.raises.__name__}, got {got}"
        if self.match is not None and not re.search(self.match, str(failure)):
            return f"expected a message that matches {self.match!r}"
        return None


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
