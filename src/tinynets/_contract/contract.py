"""`contract`: a function whose annotations are enforced on every call."""

from __future__ import annotations

import ast
import collections.abc
import gc
import inspect
import typing
import warnings
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any, TypeVar, cast

from jaxtyping import AnnotationError
from torch import nn

from .._torch import entry
from ..errors import NoSourceError
from .annotations.axis_names import axis_origins, check_axis_names, in_order_of_binding
from .annotations.parse_hints import has_tensors, spec_of
from .annotations.resolve_names import Namespace, user_stacklevel
from .annotations.specs import Anything, ItemsSpec, MappingSpec, PlainSpec, Spec, UnionSpec
from .codegen.copy_function import forwarding_node, like, put_inside
from .codegen.guard_code import AcceptWriter
from .codegen.rewrite import Rewriter
from .codegen.shape_code import AxisScope
from .codegen.source import FunctionNode, compile_function, function_node
from .runtime import FunctionContract
from .toggle import switch
from .verdict.messages import Place

F = TypeVar("F", bound=Callable[..., Any])
_RUNS_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_ATTRIBUTE = "__tinynets_contract__"
_GENERATORS: tuple[Any, ...] = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)


def contract(function: F) -> F:
    """Enforce the annotations of a function or method: arguments, return value and annotated lines.

    Axis names are shared by everything in one call. Use it on plain functions and on single methods;
    `tinynets.Module` does it for `forward` and every `forward_...` by itself.

    Raises:
        jaxtyping.AnnotationError: when decorating, if an annotation could not be enforced as it stands.
        ContractError: when called, a ShapeError or DtypeError where a tensor does not fit.
    """
    if isinstance(function, staticmethod | classmethod):
        method = cast(Any, function)
        return cast(F, type(method)(contract(method.__func__)))
    if not isinstance(function, FunctionType):
        raise TypeError(f"contract decorates functions and methods, got {type(function).__name__}")
    return cast(F, enforce(function))


def contract_of(function: Any) -> FunctionContract | None:
    """Return what `contract` has attached to a function, or None."""
    return getattr(function, _ATTRIBUTE, None)


def enforce(
    function: FunctionType,
    *,
    module_axes: frozenset[str] = frozenset(),
    guard: Callable[[nn.Module], None] | None = None,
    overridden: FunctionType | None = None,
    decorated: bool = False,
) -> FunctionType:
    """Return the function with its checks written into it.

    Under a decorator (`@torch.no_grad()`), it is the decorated function that is checked.

    Args:
        function: the function; one that is enforced already is built anew from its original.
        module_axes: axes that are attributes of the first argument.
        guard: looks at the module under `torch.inference_mode()`, if this is the `forward` of a module.
        overridden: the enforced method of the base class, whose annotations hold where this one has none.
        decorated: whether something else stands between the caller and this function.
    """
    wrapped = getattr(function, "__wrapped__", None)
    if isinstance(wrapped, FunctionType):
        kinds: dict[str, Any] = {"module_axes": module_axes, "guard": guard, "overridden": overridden}
        return put_inside(function, wrapped, enforce(wrapped, **kinds, decorated=True))
    known = contract_of(function)
    original = cast(FunctionType, known.original if known else function)
    # Syntax trees are many small objects that die with this call; without a pause they set off a collection
    # of everything that torch has made, which takes longer than all the rest.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _Builder(original, module_axes, guard, overridden, decorated).build()
    finally:
        if collecting:
            gc.enable()


class _Builder:
    def __init__(
        self,
        function: FunctionType,
        module_axes: frozenset[str],
        guard: Callable[[nn.Module], None] | None,
        overridden: FunctionType | None,
        decorated: bool,
    ) -> None:
        self.function = function
        self.decorated = decorated
        self.name = function.__qualname__.rsplit("<locals>.", 1)[-1]
        self.namespace = Namespace(function.__globals__, function)
        self.guard = guard
        self.signature = inspect.signature(function)
        self.annotations = self._annotations(overridden)
        self.module_axes = module_axes
        parameters = list(self.signature.parameters)
        self.scope = AxisScope(module_axes, parameters[0] if parameters else "", frozenset(parameters[1:]))
        self.writer = AcceptWriter(self.scope)

    def build(self) -> FunctionType:
        arguments = self._argument_specs()
        returns, yields = self._result_specs()
        filename = self.function.__code__.co_filename
        record = FunctionContract(self.function, Place(self.name, filename, {}), self.module_axes)
        try:
            node, text = function_node(self.function)
        except NoSourceError as reason:
            node, text = forwarding_node(self.function, self.signature), ""
            self._warn_no_source(str(reason))
        rewriter = Rewriter(
            node,
            arguments=in_order_of_binding(arguments, self.module_axes),
            returns=returns,
            yields=yields,
            resolve=self.namespace.resolve,
            is_contract=self._is_contract,
            writer=self.writer,
            title=self.name,
            has_walrus=":=" in text,
        )
        rewritten = rewriter.rewrite(self._entry_lines())
        record.set_sites(rewriter.sites)
        if not record.sites and self.guard is None:
            return self.function
        check_axis_names(rewriter.sites, self.name, self.module_axes, set(self.signature.parameters))
        record.place.origins.update(axis_origins(rewriter.sites))
        constants = {
            **self.writer.constants,
            "_tn_contract": record,
            "_tn_dynamo": entry.is_dynamo_compiling,
            "_tn_tracing": entry.tracing_state,
            "_tn_unusual": entry.enter_unusually,
            "_tn_inference": entry.is_inference_mode_enabled,
            "_tn_guard": self.guard,
            "_tn_frame": entry.getframe,
            # By way of its module, since cloudpickle would copy the code object and its identity be lost.
            "_tn_entry": entry,
            "_tn_switch": switch,
            "_tn_original": self.function,
        }
        return self._assemble(rewritten, constants, record)

    # What is asked for

    def _annotations(self, overridden: FunctionType | None) -> dict[str, Any]:
        """Resolved hints by parameter name and "return"; an override inherits those it does not write."""
        found: dict[str, Any] = {}
        for name, annotation in inspect.get_annotations(self.function).items():
            try:
                found[name] = self.namespace.resolve(annotation)
            except AnnotationError as error:
                raise AnnotationError(f"{self.name}, {name}: {error}") from None
        base = contract_of(overridden)
        if base is not None:
            inherited: dict[str, Any] = getattr(overridden, "__tinynets_hints__", {})
            theirs = list(inspect.signature(base.original).parameters)
            for index, name in enumerate(self.signature.parameters):
                same = name if name in inherited else theirs[index] if index < len(theirs) else name
                if same in inherited and same != "return":
                    found.setdefault(name, inherited[same])
            if "return" in inherited:
                found.setdefault("return", inherited["return"])
        return found

    def _spec(self, name: str, hint: Any) -> Spec:
        try:
            return spec_of(hint)
        except AnnotationError as error:
            raise AnnotationError(f"{self.name}, {name}: {error}") from None

    def _argument_specs(self) -> dict[str, Spec]:
        specs: dict[str, Spec] = {}
        for name, parameter in self.signature.parameters.items():
            if name not in self.annotations:
                continue
            hint = self.annotations[name]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and not has_tensors(hint):
                continue
            spec = self._spec(name, hint)
            if parameter.kind is parameter.VAR_POSITIONAL:
                spec = ItemsSpec(tuple, spec)
            elif parameter.kind is parameter.VAR_KEYWORD:
                spec = MappingSpec(dict, Anything(), spec)
            elif parameter.default is None and not isinstance(spec, Anything):
                spec = UnionSpec((PlainSpec(None), spec))
            specs[name] = spec
        return specs

    def _result_specs(self) -> tuple[Spec, Spec]:
        """Specs of what is returned and of what is yielded."""
        hint = self.annotations.get("return", Any)
        if not (inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)):
            return self._spec("return", hint), Anything()
        origin = typing.get_origin(hint)
        arguments = list(typing.get_args(hint))
        if origin in _GENERATORS and arguments:
            returned = arguments[2] if origin is collections.abc.Generator and len(arguments) > 2 else Any
            return self._spec("return", returned), self._spec("yield", arguments[0])
        if has_tensors(hint):
            raise AnnotationError(f"{self.name} yields: annotate it as Iterator[...] or Generator[...]")
        return Anything(), Anything()

    # How it is made

    def _is_contract(self, decorator: ast.expr) -> bool:
        try:
            return self.namespace.resolve(decorator) is contract
        except AnnotationError:
            return False

    def _warn_no_source(self, reason: str) -> None:
        warnings.warn(
            f"{self.name}: no usable source ({reason}), so its annotated lines are not enforced;"
            " arguments and return value are",
            stacklevel=user_stacklevel(),
        )

    def _entry_lines(self) -> list[str]:
        if self.guard is None:
            return [
                "_tn_on = _tn_switch.on",
                "if _tn_on and _tn_tracing() is not None:",
                f"    _tn_on = {entry.JUDGE_ALL}",
            ]
        module = self.scope.self_name
        guarded = ["_tn_on = _tn_switch.on", "if _tn_on and _tn_inference():", f"    _tn_guard({module})"]
        if self.decorated or self.function.__code__.co_flags & _RUNS_LATER:
            return guarded  # entered by the decorator, or, for a generator or coroutine, after the call
        unusual = f"    _tn_on = _tn_unusual({module}, _tn_frame(1))"
        return [*guarded, "if _tn_on and _tn_frame(1).f_code is not _tn_entry.CALL_IMPL:", unusual]

    def _assemble(
        self, node: FunctionNode, constants: dict[str, Any], record: FunctionContract
    ) -> FunctionType:
        function = self.function
        code = compile_function(node, function, tuple(constants))
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        closure = tuple(
            cells[name] if name in cells else CellType(constants[name]) for name in code.co_freevars
        )
        if hasattr(code, "co_qualname"):
            code = code.replace(co_qualname=function.__code__.co_qualname)
        checked = like(function, code, closure)
        setattr(checked, _ATTRIBUTE, record)
        setattr(checked, "__tinynets_hints__", self.annotations)  # noqa: B010
        return checked
