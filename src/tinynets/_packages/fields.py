"""Check the fields of a dataclass or NamedTuple under the import hook when one is constructed: axes are
shared within one object; which fields and constructors are left out, and why.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import keyword
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any, ClassVar, cast, get_origin

from jaxtyping import AnnotationError

from .._contract.annotations.parse_hints import has_tensors
from .._contract.annotations.plain_types import has_missing_names
from .._contract.annotations.resolve_names import NameResolver
from .._torch.tracing.while_tracing import known_while_tracing
from .build import build_in_place
from .lenient_policy import Lenient

_NO_DEFAULT = inspect.Parameter.empty


def check_construction(cls: type, policy: Lenient, file: str) -> FieldCheck | None:
    """Make a class check its fields when an object is constructed; return None if there are none to check.

    Call it after the decorators of the class have run. The policy records the fields that cannot be checked.
    """
    kind = cast(Any, cls)
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        made = "__init__"
    elif issubclass(cls, tuple) and hasattr(kind, "_fields"):
        names, made = list(kind._fields), "__new__"
    else:
        return None
    hints = {
        name: (base, hint)
        for base in reversed(cast("list[type]", kind.__mro__))
        for name, hint in inspect.get_annotations(base).items()
    }
    constructor: Any = vars(cast(type, kind)).get(made)
    constructor = getattr(constructor, "__func__", constructor)  # `__new__` is a static method
    if not isinstance(constructor, FunctionType) or constructor.__code__.co_filename == file:
        # It is inherited or written by hand, and so an ordinary function.
        reason = "its constructor is not the one that a dataclass gets: annotate the arguments of that"
        _note_unchecked(kind, inspect.get_annotations(kind), hints, policy, reason)
        return None
    names = [name for name in names if name in hints and not keyword.iskeyword(name)]
    others = [name for name in getattr(kind, "__dataclass_fields__", ()) if name not in names]
    reason = "it is set after construction, or an argument of the constructor only"
    _note_unchecked(kind, [name for name in others if name in hints], hints, policy, reason)
    parameters = inspect.signature(constructor).parameters
    # In the order of the parameters: Python assigns defaults from the right, and these are never used.
    defaults = tuple(parameters[name].default if name in parameters else _NO_DEFAULT for name in names)
    check = FieldCheck(kind, {name: hints[name] for name in names}, defaults, policy, file)
    if not check.is_needed():
        return None
    setattr(kind, made, _checked_constructor(constructor, check, made))
    return check


def _note_unchecked(
    cls: type, names: Iterable[str], hints: dict[str, tuple[type, Any]], policy: Lenient, reason: str
) -> None:
    """Record in the policy which of these fields have tensors and are not checked."""
    for name in names:
        try:
            hint = _resolve(*hints[name])
            hint = hint.type if isinstance(hint, dataclasses.InitVar) else hint  # pyright: ignore
            if get_origin(hint) is not ClassVar and has_tensors(hint):
                policy.refuse(cls.__qualname__, name, 0, reason)
        except Exception:  # whatever it is, the module must be imported
            continue


def _resolve(base: type, annotation: Any) -> Any:
    """Resolve the annotation of a field with the names of the module in which the field is declared."""
    names = NameResolver(vars(sys.modules[base.__module__]), owner=base, at_definition=False)
    return names.resolve(annotation)


def _checked_constructor(constructor: FunctionType, check: FieldCheck, made: str) -> Any:
    """Return a constructor that checks the fields of the object that the original constructor has made.

    It reads the constructor and the check from globals of the module: dynamo cannot find the source of a
    closure.
    """
    first, item = ("cls", "made") if made == "__new__" else ("self", "self")
    line = check.policy.line
    original, fields = f"_tn_{made.strip('_')}_{line}", f"_tn_fields_{line}"
    values = ", ".join(f"{item}.{name}" for name in check.hints)
    text = [
        f"def {made}({first}, *args, **kwargs):",
        f"    made = {original}({first}, *args, **kwargs)",
        f"    {fields}.build()",
        f"    {fields}.built({values})",
        "    return made",
    ]
    namespace, found = vars(sys.modules[check.cls.__module__]), dict[str, Any]()
    namespace.update({original: constructor, fields: check})
    exec(compile("\n".join(text), "<fields checked by tinynets>", "exec"), namespace, found)
    function = functools.update_wrapper(found[made], constructor)
    return staticmethod(function) if made == "__new__" else function


@dataclasses.dataclass(eq=False, repr=False)
class FieldCheck:
    """The function whose arguments are the fields of a class, built for the first object."""

    cls: type
    hints: dict[str, tuple[type, Any]]  # of a field: the class that declares it, its annotation
    defaults: tuple[Any, ...]  # of the fields
    policy: Lenient
    file: str  # of the class
    # "argument" -> number of fields
    checks: Counter[str] = dataclasses.field(default_factory=Counter[str], init=False)
    built: Any = dataclasses.field(default=None, init=False)  # the function

    def is_needed(self) -> bool:
        """Whether a field has tensors, or may have them because a name in its annotation does not exist yet.

        Even a constructor without checks would add a frame, which a `__post_init__` that inspects its caller
        would see.
        """
        try:
            hints = [_resolve(*hint) for hint in self.hints.values()]
            return any(has_missing_names(hint) or has_tensors(hint) for hint in hints)
        except Exception:  # whatever it is, the module must be imported
            return True

    @known_while_tracing
    def build(self) -> None:
        """Build the function if it does not exist yet."""
        if self.built is None:
            self.built = self._build()

    def _build(self) -> FunctionType:
        source = f"def {self.cls.__name__}({', '.join(self.hints)}): return\n"
        found: dict[str, Any] = {}
        exec(compile(source, self.file, "exec"), vars(sys.modules[self.cls.__module__]), found)
        function: FunctionType = found[self.cls.__name__]
        function.__qualname__, function.__defaults__ = self.cls.__qualname__, self.defaults
        function.__annotations__ = dict(self._resolved())
        try:
            self.checks = build_in_place(function, [source], self.policy, label=self.cls.__name__)
        except Exception as error:  # whatever it is, objects must still be constructed
            self.policy.refuse(self.cls.__qualname__, "", 0, f"{type(error).__name__}: {error}")
        return function

    def _resolved(self) -> Iterator[tuple[str, Any]]:
        for name, hint in self.hints.items():
            try:
                yield name, _resolve(*hint)
            except AnnotationError as error:
                self.policy.refuse(self.cls.__qualname__, name, 0, str(error))
