"""Parameters and buffers that are annotated in a class body are checked when they are set."""

from __future__ import annotations

import inspect
import sys
import typing
from types import FunctionType
from typing import Any, ClassVar, cast

from jaxtyping import AnnotationError

from .annotations.parse_hints import has_tensors, spec_of
from .annotations.resolve_names import Namespace
from .annotations.specs import Spec
from .codegen.rewrite import Site
from .toggle import switch
from .verdict.messages import Place, contract_error
from .verdict.validate import Bindings, find_fault


def attribute_specs(cls: type) -> dict[str, Spec]:
    """Return the tensor annotations in the body of a class and of its bases, by name of the attribute."""
    specs: dict[str, Spec] = {}
    for base in reversed(cls.__mro__):
        annotations = inspect.get_annotations(base)
        if not annotations or base.__module__.split(".")[0] == "torch":
            continue
        namespace = Namespace(_globals_of(base))
        for name, annotation in annotations.items():
            try:
                hint = namespace.resolve(annotation)
            except AnnotationError as error:
                # Any other annotation of a class body may name what does not exist yet: nothing reads it.
                if isinstance(annotation, str) and "Tensor" in annotation and "[" in annotation:
                    raise AnnotationError(f"{base.__qualname__}.{name}: {error}") from None
                continue
            if typing.get_origin(hint) is not ClassVar and has_tensors(hint):
                specs[name] = spec_of(hint)
    return specs


def _globals_of(cls: type) -> dict[str, Any]:
    """Return the globals that a class body was run with; its module may not be importable (a notebook)."""
    for member in vars(cls).values():
        if isinstance(member, FunctionType):
            return member.__globals__
    return vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}


def check_attribute(owner: Any, name: str, value: Any, spec: Spec, module_axes: frozenset[str]) -> None:
    """Check a value that is about to become an attribute.

    Axes that are attributes of the owner count from the moment they are set.

    Raises:
        ContractError: it does not fit its annotation; nothing has been set.
    """
    if not switch.on:
        return
    kind = cast(Any, type(owner))
    known = frozenset(axis for axis in module_axes if axis in vars(owner) or hasattr(kind, axis))
    bindings = Bindings({}, owner, known)
    fault = find_fault(spec, value, bindings)
    if fault is not None:
        site = Site("attribute", name, spec)
        place = Place(kind.__qualname__, "", {})
        raise contract_error(fault, site, place, Bindings({}, owner, known)) from None
