"""What a checked function does with a value that no guard accepts (validate, raise or continue), under
`torch.compile` and `fx.symbolic_trace` too, and with errors of torch that pass through it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
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
from .annotations.class_scope import ClassScope
from .annotations.policy import STRICT, Policy
from .annotations.specs import Site
from .codegen.shape_code import axis_variable
from .toggle import toggle
from .verdict.descriptions import expectation
from .verdict.messages import Place, contract_error
from .verdict.torch_note import add_note
from .verdict.validate import Bindings, validate

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
        with suppress(Exception):  # such as an `add_note` that fails: the original error must not be hidden
            if verdict := self._without_shape(error, variables):
                return verdict
            sizes = {name: variables.get(axis_variable(name)) for name in self.place.origins}
            add_note(error, self.place, self.scope, variables.get(self.self_name), sizes, variables)
        return []

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
