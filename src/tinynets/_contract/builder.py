"""Build a checked function from its annotations and its rewritten definition: the warning that lines are not
enforced without source, and what each call asks first (`tn.checks`, the mode guard).
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType
from typing import Any

from jaxtyping import AnnotationError
from torch import nn

from .._torch.modules import module_calls
from .._torch.tracing import while_tracing
from ..errors import NoSourceError
from .annotations.axis_names import axis_origins, check_axis_names, in_order_of_binding, names_in
from .annotations.class_scope import NO_CLASS, ClassScope
from .annotations.policy import STRICT, Policy
from .annotations.resolve_names import NameResolver, user_stacklevel
from .annotations.signature_specs import SignatureSpecs
from .annotations.specs import Site, Spec, unchecked_hints
from .codegen.copy_function import copy_function, forwarding_node
from .codegen.guard_code import CALLED, GuardWriter
from .codegen.rebinding import rebinds
from .codegen.rewrite import Rewriter
from .codegen.shape_code import AxisScope
from .codegen.source import compile_function, function_node
from .codegen.support import widen, without_generated_names
from .codegen.syntax import FunctionNode, with_visible_names
from .codegen.unsupported import reject_reserved_names
from .runtime import FunctionContract
from .toggle import toggle
from .verdict.messages import Place

# Attributes of a checked function.
CONTRACT = "__tinynets_contract__"
BUILDER = "__tinynets_builder__"

_RUNS_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
# What every checked function reads, besides the constants of its guards.
RUNTIME = {
    "_tn_compiling": while_tracing.is_dynamo_compiling,
    "_tn_tracing": while_tracing.tracing_state,
    "_tn_enter": module_calls.enter_from_elsewhere,
    "_tn_inference_mode": while_tracing.is_inference_mode_enabled,
    "_tn_getframe": module_calls.getframe,
    # Read through its module: cloudpickle would copy the code object, which is compared by identity.
    "_tn_module_calls": module_calls,
    "_tn_toggle": toggle,
    "_tn_dict": dict,
    "_tn_widen": widen,
    "_tn_visible": without_generated_names,
}


@dataclass(frozen=True)
class RewrittenFunction:
    """A definition with its checks, and the data that they refer to."""

    node: FunctionNode
    sites: list[Site]
    constants: dict[str, Any]  # free variable -> value
    without_source: str  # why the body could not be read, or ""
    unchecked: list[tuple[str, Any]]  # names with a hint that is not enforced, and the hint


@dataclass(eq=False, repr=False)
class FunctionBuilder:
    """Builds the checked version of one function."""

    function: Any  # the original, a `FunctionType`
    names: NameResolver
    contract: object = None  # the decorator that enforces inner functions
    scope: ClassScope = NO_CLASS  # what the class of a method supplies to annotations
    check_mode: Callable[[nn.Module], None] | None = None  # see `enforce`
    overridden: FunctionBuilder | None = None  # of the method that this one overrides
    decorated: bool = False  # whether a decorator is called in place of this function
    policy: Policy = STRICT
    source: tuple[FunctionNode, str] | None = None  # the definition and its text; those in the file if None

    def __post_init__(self) -> None:
        self.name = self.function.__qualname__.rsplit("<locals>.", 1)[-1]
        theirs = self.overridden.specs if self.overridden else None
        self.specs = SignatureSpecs(self.function, self.name, self.names, self.policy, theirs)
        self.signature = self.specs.signature

    def build(self) -> FunctionType:
        """Return the checked function, or the original where there is nothing to check."""
        rewritten = self.rewrite()
        if rewritten.without_source and self.function.__code__.co_name != "<lambda>":
            warnings.warn(
                f"{self.name}: no usable source ({rewritten.without_source}), so its annotated lines are not"
                " enforced; arguments and return value are",
                stacklevel=user_stacklevel(),
            )
        if not rewritten.sites and self.check_mode is None:
            return self.function
        self.check_axis_names(rewritten)
        self.names.release_scope()
        record = FunctionContract(self.function, self.place(rewritten), self.scope, rewritten.sites)
        code = self.compile(rewritten)
        values = {**rewritten.constants, "_tn_contract": record}
        original = self.function
        cells = dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))
        closure = tuple(cells[name] if name in cells else CellType(values[name]) for name in code.co_freevars)
        checked = copy_function(original, code, closure)
        setattr(checked, CONTRACT, record)
        setattr(checked, BUILDER, self)
        return checked

    def check_axis_names(self, rewritten: RewrittenFunction) -> None:
        """Reject axes that nothing binds, and warn about those that look misspelt."""
        axes = self.scope.axes | self.scope.optional_axes
        check_axis_names(rewritten.sites, self.name, axes, set(self.signature.parameters))

    def place(self, rewritten: RewrittenFunction) -> Place:
        """Return the place of the function for error messages."""
        return Place(self.name, self.function.__code__.co_filename, axis_origins(rewritten.sites))

    def rewrite(self) -> RewrittenFunction:
        """Return the definition with its checks; the result is always the same."""
        reason = ""
        try:
            node, text = self.source or function_node(self.function)
        except NoSourceError as error:
            node, text, reason = forwarding_node(self.function, self.signature), "", str(error)
        reject_reserved_names(self.name, node, text)
        arguments = in_order_of_binding(self.specs.arguments(), self.scope.axes)
        code = self.function.__code__
        known = {*code.co_varnames, *code.co_cellvars, *code.co_freevars, *self.function.__globals__}
        returns, yields = self.specs.results()
        scope = self._axis_scope(text, [*arguments.values(), returns, yields])
        writer = GuardWriter(scope, shadowed=CALLED & known)
        rewriter = Rewriter(
            with_visible_names(node, text),
            arguments=arguments,
            returns=returns,
            yields=yields,
            resolve=self.names.resolve,
            is_contract=self._is_contract,
            writer=writer,
            title=self.name,
            policy=self.policy,
            has_walrus=":=" in text,
        )
        rewritten = rewriter.rewrite(self._entry_lines(writer.scope.self_name))
        constants = {**RUNTIME, **writer.constants}
        if self.check_mode is not None:
            constants["_tn_check_mode"] = self.check_mode
        if reason:
            constants["_tn_original"] = self.function
        named = [*arguments.items(), ("return", returns), ("yield", yields)]
        unchecked = [(name, hint) for name, spec in named for hint in unchecked_hints(spec)]
        unchecked += rewriter.unchecked
        return RewrittenFunction(rewritten, rewriter.checks.sites, constants, reason, unchecked)

    def compile(self, rewritten: RewrittenFunction) -> CodeType:
        """Compile a rewritten definition in place of the original."""
        return compile_function(rewritten.node, self.function, (*rewritten.constants, "_tn_contract"))

    def _axis_scope(self, text: str, specs: list[Spec]) -> AxisScope:
        """Return the scope in which the guards of a body with this text begin."""
        parameters = list(self.signature.parameters.values())
        first = parameters[0].name if parameters else ""
        others = frozenset(parameter.name for parameter in parameters[1:])
        used = names_in(specs)
        optional = {n for n in self.scope.optional_axes if n in used or re.search(rf"\b{n}\b", text)}
        scope = AxisScope(self.scope.axes, first, others)
        of_module = self.check_mode is not None or bool(self.scope.axes or optional)
        if of_module and parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
            scope.hold_self(f"{first}[0]")
        elif first and rebinds(self.function.__code__, first):
            scope.hold_self(first)
        scope.may_be_set(optional)
        return scope

    def _is_contract(self, decorator: ast.expr) -> bool:
        if not all(isinstance(node, ast.Name | ast.Attribute | ast.Load) for node in ast.walk(decorator)):
            return False  # evaluating a call may have side effects
        try:
            return self.names.resolve(decorator) is self.contract
        except AnnotationError:
            return False

    def _entry_lines(self, first: str) -> list[str]:
        """Return the source lines that decide at the start of a call how its checks run."""
        if self.check_mode is None:
            return [
                "_tn_checks = _tn_toggle.on",
                "if _tn_checks and _tn_tracing() is not None:",
                f"    _tn_checks = {while_tracing.VALIDATE_ALL}",
            ]
        lines = [
            "_tn_checks = _tn_toggle.on",
            "if _tn_checks and _tn_inference_mode():",
            f"    _tn_check_mode({first})",
        ]
        if not (self.decorated or self.function.__code__.co_flags & _RUNS_LATER):
            # A decorator calls its function, and generators and coroutines start after the call.
            lines += [
                "if _tn_checks and _tn_getframe(1).f_code is not _tn_module_calls.CALL_IMPL:",
                f"    _tn_checks = _tn_enter({first}, _tn_getframe(1))",
            ]
        return lines
