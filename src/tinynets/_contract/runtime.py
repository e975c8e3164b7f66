"""Handle values that a guard does not accept, and errors of torch that pass through a checked function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, TypeAlias

import torch
from jaxtyping import AnnotationError

from .._torch.tracing.while_tracing import (
    TRACES_RAISE,
    VALIDATE_ALL,
    graph_break,
    is_dynamo_compiling,
    outside_of_dynamo,
    pause_tracing,
    resume_tracing,
)
from ..errors import ContractError
from .annotations.class_scope import ClassScope
from .annotations.policy import STRICT, Policy
from .annotations.specs import Site
from .codegen.shape_code import axis_variable
from .file_names import file_name
from .toggle import toggle
from .verdict.descriptions import description, expectation
from .verdict.messages import Place, contract_error, module_path
from .verdict.torch_remedies import torch_remedy
from .verdict.validate import Bindings, validate

_NOTE = "in"
Witness: TypeAlias = "Callable[[FunctionContract, Site, bool], None]"
_watched = threading.local()


@contextmanager
def witnessed(witness: Witness) -> Generator[None]:
    """Validate and report every annotated line that this thread runs, whether its guard accepts or not.

    The witness is called with a line before it is judged, with False, and again with the verdict.
    """
    owner = object()
    toggle.enter(owner, VALIDATE_ALL)
    before, _watched.witness = getattr(_watched, "witness", None), witness
    try:
        yield
    finally:
        _watched.witness = before
        toggle.leave(owner)


@dataclass
class FunctionContract:
    """The data that the checks of one function need when a guard does not accept a value."""

    original: FunctionType
    place: Place
    scope: ClassScope
    sites: list[Site]
    policy: Policy = STRICT
    refusals: list[str] = field(init=False)  # the message of `torch.compile(fullgraph=True)` at each site

    def __post_init__(self) -> None:
        self.refusals = [f"{self.place.name}: {s.name}: expected {expectation(s.spec)}" for s in self.sites]

    @property
    def self_name(self) -> str:
        """Name of the first argument, or `""`."""
        code = self.original.__code__
        return code.co_varnames[0] if code.co_argcount else ""

    def validate(self, index: int, value: Any, *rest: Any) -> dict[str, Any] | list[Exception]:
        """Return the axis sizes if the value is accepted, else a list with the error to raise.

        The function pops the error from the list: a variable that refers to an error, whose traceback refers
        to the frame, would keep everything in that frame alive.
        """
        if is_dynamo_compiling():
            graph_break(self.refusals[index], value)
            if not TRACES_RAISE:
                return outside_of_dynamo(self._validate_or_raise)(index, value, *rest)
        return outside_of_dynamo(self._validate)(index, value, *rest)

    def _validate_or_raise(self, *arguments: Any) -> Any:
        verdict = self._validate(*arguments)
        if isinstance(verdict, dict):
            return verdict
        raise verdict.pop() from None

    def _validate(
        self, index: int, value: Any, known: dict[str, Any], owner: Any, arguments: dict[str, Any]
    ) -> dict[str, Any] | list[Exception]:
        # The error is returned, not raised, so that the traceback ends in the line of the user's code.
        if isinstance(value, torch.fx.Proxy):
            return known  # a symbolic trace records no shapes
        state, site = pause_tracing(), self.sites[index]
        try:
            arguments = {**arguments, **({self.self_name: owner} if self.self_name else {})}
            before = Bindings(known, owner, self.scope.known_axes(owner), arguments)
            bindings = before.copy()
            witness = getattr(_watched, "witness", None)
            if witness is not None:
                witness(self, site, False)
            mismatch = validate(site.spec, value, bindings)
            if witness is not None:
                witness(self, site, mismatch is None)
            if mismatch is None:
                return bindings.sizes
            error = contract_error(mismatch, site, self.place, before)
            return known if self.policy.tolerates(error, site, self.place.name) else [error]
        except Exception as error:
            if self.policy.excuses(error, site, self.place.name):
                return known
            if not isinstance(error, AnnotationError):
                raise
            return [AnnotationError(f"{self.place.name}, {site.name}: {error}")]
        finally:
            resume_tracing(state)

    def note(self, error: Exception, variables: dict[str, Any]) -> list[Exception]:
        """Add to an error of torch where it happened, or return a list with that to raise in its place."""
        # Up to Python 3.12 this dict stays with the frame, which the traceback of the error holds.
        variables.pop("_tn_error", None)
        try:
            return self._without_shape(error, variables) or self._add_note(error, variables)
        except Exception:
            return []  # such as an `add_note` that fails: the original error must not be hidden

    def _without_shape(self, error: Exception, variables: dict[str, Any]) -> list[Exception]:
        """Return a contract error if a guard read the shape of a tensor without one."""
        traceback = error.__traceback__
        if traceback is None or traceback.tb_next is not None or "NestedTensorImpl" not in str(error):
            return []
        for index, site in enumerate(self.sites):
            if site.line <= traceback.tb_lineno <= site.end_line and site.variable in variables:
                owner = variables.get(self.self_name)
                verdict = self._validate(index, variables[site.variable], {}, owner, variables)
                if not isinstance(verdict, dict):
                    return verdict
        return []

    def _add_note(self, error: Exception, variables: dict[str, Any]) -> list[Exception]:
        owner = variables.get(self.self_name)
        if isinstance(error, AttributeError) and error.name in self.scope.axes and error.obj is owner:
            error.add_note(f"{error.name} is declared as an axis in the class body: set it in __init__")
            return []
        if not isinstance(error, RuntimeError | ValueError | IndexError | TypeError) or isinstance(
            error, ContractError
        ):
            return []
        if any(known.startswith(_NOTE) for known in getattr(error, "__notes__", ())):
            return []  # the innermost forward has already added its note
        path = module_path(owner)
        line = error.__traceback__.tb_lineno if error.__traceback__ else 0
        sizes = {name: variables.get(axis_variable(name)) for name in self.place.origins}
        bound = [f"{name}={size}" for name, size in sizes.items() if size is not None]
        bound += [f"{name}={getattr(owner, name, '?')}" for name in sorted(self.scope.known_axes(owner))]
        tensors = {
            name: value
            for name, value in variables.items()
            if isinstance(value, torch.Tensor) and not name.startswith("_tn_")
        }
        file = file_name(self.place.filename)
        lines = [f"{_NOTE} {self.place.name}{f' at {path}' if path else ''}, line {line} of {file}"]
        lines += [f"  axes: {'; '.join(bound)}"] if bound else []
        described = [f"{name} {description(value)}" for name, value in tensors.items()]
        lines += [f"  tensors: {'; '.join(described)}"] if tensors else []
        lines += [f"  {remedy}" for remedy in torch_remedy(error, owner, tensors)]
        error.add_note("\n".join(lines))
        return []
