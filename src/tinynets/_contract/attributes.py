"""Check parameters, buffers and tensors that are annotated in a class body when they are set as attributes of
a `tn.Module`; `ClassVar` is left out.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any, ClassVar, cast

from jaxtyping import AnnotationError

from .annotations.class_scope import ClassScope, globals_of
from .annotations.parse_hints import has_tensors, parse_hint
from .annotations.resolve_names import NameResolver
from .annotations.specs import Site, Spec
from .toggle import toggle
from .verdict.messages import Place, contract_error
from .verdict.validate import Bindings, validate


def attribute_specs(cls: type) -> dict[str, Spec]:
    """Return the tensor annotations in the bodies of a class and its bases, by name of the attribute."""
    specs: dict[str, Spec] = {}
    for base in reversed(cls.__mro__):
        annotations = inspect.get_annotations(base)
        if not annotations or base.__module__.split(".")[0] == "torch":
            continue
        namespace = NameResolver(globals_of(base), owner=cls)
        for name, annotation in annotations.items():
            try:
                hint = namespace.resolve(annotation)
            except AnnotationError as error:
                # Other annotations may use names that do not exist yet, since nothing reads them.
                if isinstance(annotation, str) and "Tensor" in annotation and "[" in annotation:
                    raise AnnotationError(f"{base.__qualname__}.{name}: {error}") from None
                continue
            if typing.get_origin(hint) is not ClassVar and has_tensors(hint):
                specs[name] = parse_hint(hint)
    return specs


def check_attribute(owner: Any, name: str, value: Any, spec: Spec, scope: ClassScope) -> None:
    """Check a value before it is set as an attribute.

    Axes that are attributes of the owner are checked once they are set.

    Raises:
        ContractError: the value does not match its annotation; nothing has been set.
    """
    if not toggle.on:
        return
    kind = cast(Any, type(owner))
    known = scope.set_axes(owner)
    bindings = Bindings({}, owner, known)
    mismatch = validate(spec, value, bindings)
    if mismatch is not None:
        site = Site("attribute", name, spec)
        place = Place(kind.__qualname__, "", {})
        raise contract_error(mismatch, site, place, Bindings({}, owner, known)) from None
