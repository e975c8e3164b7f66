"""What a checked function calls when an accept test did not say yes, and when an error passes through it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from jaxtyping import AnnotationError

from .._torch.entry import graph_break, is_dynamo_compiling, pause_tracing, resume_tracing
from ..errors import ContractError
from .codegen.rewrite import Site
from .codegen.shape_code import axis_variable
from .verdict.messages import Place, contract_error, description, expectation, module_path
from .verdict.remedies import torch_remedy
from .verdict.validate import Bindings, find_fault

_NOTE = "in"


@dataclass
class FunctionContract:
    """What the checks of one function need when an accept test did not say yes."""

    original: FunctionType
    place: Place
    module_axes: frozenset[str] = frozenset()
    sites: list[Site] = field(default_factory=list[Site])
    refusals: list[str] = field(default_factory=list[str])  # for the message of torch.compile(fullgraph=True)

    def set_sites(self, sites: list[Site]) -> None:
        """Take over the places that the rewriting found."""
        self.sites = sites
        self.refusals = [f"{self.place.name}: {s.name}: expected {expectation(s.spec)}" for s in sites]

    def judge(self, index: int, value: Any, *rest: Any) -> dict[str, Any] | Exception:
        """Return the axis sizes after the value was accepted, or the error to raise."""
        if is_dynamo_compiling():
            graph_break(self.refusals[index], value)
        if "torch._dynamo" in sys.modules:  # called from compiled code, perhaps: keep dynamo out of here
            return torch._dynamo.disable(self._judge)(index, value, *rest)  # pyright: ignore
        return self._judge(index, value, *rest)

    def _judge(
        self, index: int, value: Any, known: dict[str, Any], owner: Any, arguments: dict[str, Any]
    ) -> dict[str, Any] | Exception:
        # The error is returned, so that the line of the user's code that raises it ends the traceback.
        if isinstance(value, torch.fx.Proxy):
            return known  # a symbolic trace records no shapes
        state = pause_tracing()
        try:
            site = self.sites[index]
            arguments = {**arguments, **({self.self_name: owner} if self.self_name else {})}
            before = Bindings(known, owner, self.module_axes, arguments)
            bindings = before.copy()
            fault = find_fault(site.spec, value, bindings)
            if fault is None:
                return bindings.sizes
            return contract_error(fault, site, self.place, before)
        except AnnotationError as error:
            return AnnotationError(f"{self.place.name}, {self.sites[index].name}: {error}")
        finally:
            resume_tracing(state)

    @property
    def self_name(self) -> str:
        """Name of the first argument."""
        names = self.original.__code__.co_varnames
        return names[0] if self.original.__code__.co_argcount else ""

    def note(self, error: Exception, variables: dict[str, Any]) -> None:
        """Tell a torch error that passes through a forward where it happened and which sizes were bound."""
        if not isinstance(error, RuntimeError | ValueError | IndexError | TypeError) or isinstance(
            error, ContractError
        ):
            return
        if any(known.startswith(_NOTE) for known in getattr(error, "__notes__", ())):
            return  # the innermost forward has said it already
        owner = variables.get(self.self_name)
        path = module_path(owner)
        line = error.__traceback__.tb_lineno if error.__traceback__ else 0
        sizes = {name: variables.get(axis_variable(name)) for name in self.place.origins}
        bound = [f"{name}={size}" for name, size in sizes.items() if size is not None]
        bound += [f"{name}={getattr(owner, name, '?')}" for name in sorted(self.module_axes)]
        tensors = [
            f"{name} {description(value)}"
            for name, value in variables.items()
            if isinstance(value, torch.Tensor) and not name.startswith("_tn_")
        ]
        file = os.path.basename(self.place.filename)
        lines = [f"{_NOTE} {self.place.name}{f' at {path}' if path else ''}, line {line} of {file}"]
        lines += [f"  axes: {'; '.join(bound)}"] if bound else []
        lines += [f"  tensors: {'; '.join(tensors)}"] if tensors else []
        error.add_note("\n".join(lines + [f"  {remedy}" for remedy in torch_remedy(error)]))
