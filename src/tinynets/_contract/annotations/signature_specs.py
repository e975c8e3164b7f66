"""Read the annotations of a signature: which ones an override inherits (by parameter name, else by position),
and what a default of None, `*args`, `**kwargs`, generators and yields mean for them.
"""

from __future__ import annotations

import collections.abc
import inspect
import typing
from dataclasses import dataclass
from typing import Any

from jaxtyping import AnnotationError

from .parse_hints import has_tensors, is_unpacked, parse_hint
from .policy import Policy
from .resolve_names import NameResolver
from .specs import Anything, ItemsSpec, MappingSpec, PlainSpec, Spec, UnionSpec

_GENERATORS: tuple[Any, ...] = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)


@dataclass(eq=False, repr=False)
class SignatureSpecs:
    """The annotations of one function, as specs."""

    function: Any  # a `FunctionType`
    title: str  # names it in errors
    names: NameResolver
    policy: Policy
    overridden: SignatureSpecs | None  # of the method that it overrides, which supplies what it omits

    def __post_init__(self) -> None:
        self.signature = inspect.signature(self.function)
        self.hints = self._hints()

    def _hints(self) -> dict[str, Any]:
        """Return resolved hints by parameter name and "return"; an override inherits those that it omits."""
        found: dict[str, Any] = {}
        for name, annotation in inspect.get_annotations(self.function).items():
            try:
                found[name] = self.names.resolve(annotation)
            except AnnotationError as error:
                self.policy.refuse(self.title, name, 0, str(error))
        if self.overridden is not None:
            inherited, theirs = self.overridden.hints, list(self.overridden.signature.parameters)
            for index, name in enumerate(self.signature.parameters):
                same = name if name in inherited else theirs[index] if index < len(theirs) else name
                if same in inherited and same != "return":
                    found.setdefault(name, inherited[same])
            if "return" in inherited:
                found.setdefault("return", inherited["return"])
        return found

    def _spec(self, name: str, hint: Any) -> Spec:
        try:
            return self.policy.adapt(parse_hint(hint), self.title, name)
        except AnnotationError as error:
            self.policy.refuse(self.title, name, 0, str(error))
            return Anything()

    def arguments(self) -> dict[str, Spec]:
        """Return the specs of the annotated arguments."""
        specs: dict[str, Spec] = {}
        for name, parameter in self.signature.parameters.items():
            if name not in self.hints:
                continue
            hint = self.hints[name]
            several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if several and not has_tensors(hint):
                continue
            spec = self._spec(name, hint)
            if isinstance(spec, Anything) or (several and is_unpacked(hint)):
                pass  # `*args: *tuple[A, B]` and `**options: Unpack[Options]` describe all of them at once
            elif parameter.kind is parameter.VAR_POSITIONAL:
                spec = ItemsSpec(tuple, spec)
            elif parameter.kind is parameter.VAR_KEYWORD:
                spec = MappingSpec(dict, Anything(), spec)
            elif parameter.default is None:
                spec = UnionSpec((PlainSpec(None), spec))
            elif parameter.default is not parameter.empty:
                spec = self.policy.with_default(spec, parameter.default)
            specs[name] = spec
        return specs

    def results(self) -> tuple[Spec, Spec]:
        """Return the specs of the return value and of the values that are yielded."""
        hint = self.hints.get("return", Any)
        if not (inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)):
            return self._spec("return", hint), Anything()
        origin = typing.get_origin(hint)
        arguments = list(typing.get_args(hint))
        if origin in _GENERATORS and arguments:
            returned = arguments[2] if origin is collections.abc.Generator and len(arguments) > 2 else Any
            return self._spec("return", returned), self._spec("yield", arguments[0])
        if has_tensors(hint):
            self.policy.refuse(
                f"{self.title} yields", "yield", 0, "annotate it as Iterator[...] or Generator[...]"
            )
        return Anything(), Anything()
