"""`tn.Module`: an `nn.Module` whose annotated methods are enforced from the moment its class is created, and
whose annotated tensors are checked when they are set; `save` and `load`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, Self, TypeVar

from torch import Tensor, nn

from . import checkpoint
from ._contract.annotations.class_scope import NO_CLASS, ClassScope, class_scope
from ._contract.annotations.specs import Spec
from ._contract.attributes import attribute_specs, check_attribute
from ._contract.codegen.annotated_lines import annotated_lines
from ._contract.members import enforce_members
from .modes import guard

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:

    class _HasForward(Protocol[P, R_co]):
        def forward(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Module(nn.Module):
    """An `nn.Module` whose subclasses' annotated methods are enforced on every call.

    Arguments, return value and every annotated line of `forward`, and of each method with a tensor
    annotation, are checked against their jaxtyping annotations. Axis names are shared within one call. An
    `int` declared in the class body (`num_classes: int`) is an axis name too, bound to the attribute of the
    instance. A method that overrides another without annotations inherits them.

    Raises:
        jaxtyping.AnnotationError: when the class is created, if an annotation cannot be enforced.
        ShapeError, DtypeError, ContractError: when called, if an argument or a computed value does not match.
        ModeError: when called in training mode under `torch.inference_mode()` with layers that would then
            return random outputs or change their statistics.
    """

    if TYPE_CHECKING:

        def __call__(self: _HasForward[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
            """Typed like `forward`; `nn.Module.__call__` is typed as `Any` (pytorch#45414)."""
            ...

    _class_scope: ClassVar[ClassScope] = NO_CLASS
    _declared_tensors: ClassVar[Mapping[str, Spec]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._class_scope = class_scope(cls, annotated_lines)
        cls._declared_tensors = MappingProxyType(attribute_specs(cls))
        enforce_members(cls, Module, cls._class_scope, guard)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, constructor arguments and normalisation to a safetensors file, atomically.

        Raises:
            CheckpointError: a constructor argument is not stored as an attribute, or is not plain data.
        """
        checkpoint.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, allow_nonfinite: bool = False) -> Self:
        """Rebuild a model of this class from a file that `save` wrote, on the CPU and in eval mode.

        Args:
            path: the file, which is read once; the model does not refer to it afterwards.
            allow_nonfinite: accept weights that are NaN or infinite.

        Raises:
            CheckpointError: the file is damaged, newer than this library, of another class, does not match
                it, or contains NaN or infinities.
            FileNotFoundError: there is no such file.
        """
        return checkpoint.load(cls, path, allow_nonfinite=allow_nonfinite)

    def _check_declared(self, name: str, value: object) -> None:
        spec = self._declared_tensors.get(name)
        if spec is not None:
            check_attribute(self, name, value, spec, self._class_scope)

    def __setattr__(self, name: str, value: Any) -> None:
        self._check_declared(name, value)
        super().__setattr__(name, value)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a buffer after checking it against the annotations in the class body."""
        self._check_declared(name, tensor)
        super().register_buffer(name, tensor, persistent)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter after checking it against the annotations in the class body."""
        self._check_declared(name, param)
        super().register_parameter(name, param)
