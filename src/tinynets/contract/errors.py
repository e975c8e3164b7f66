"""What goes wrong, as exceptions that carry their facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import TypeCheckError


class ContractError(TypeCheckError):
    """A value broke the contract written in an annotation.

    The message says it for people; the fields say it for programs. Both survive pickling, so the error
    arrives whole from a `DataLoader` worker or another process.

    Attributes:
        module_path: path of the module below the outermost called one (`encoder.blocks.3`), or `""`.
        where: the argument, variable or `"return"` that was checked.
        axis: index of the first axis that does not fit, or None where the fault is not in one axis.
        expected: what the annotation asks for, such as `float [batch 1 28 28]`.
        got: what came, such as `float32 [32 28 28 1]`.
        bindings: axis name -> size, as far as they were known at the fault.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        axis: int | None = None,
        expected: str = "",
        got: str = "",
        bindings: Mapping[str, Any] | None = None,
        module_path: str = "",
    ) -> None:
        super().__init__(message)
        self.where = where
        self.axis = axis
        self.expected = expected
        self.got = got
        self.bindings = dict(bindings or {})
        self.module_path = module_path

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException's own reduce calls cls(*args) and would lose the keyword-only fields.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[ContractError], args: tuple[Any, ...], fields: dict[str, Any]) -> ContractError:
    error = cls(*args)
    error.__dict__.update(fields)
    return error


class ShapeError(ContractError):
    """A tensor has the wrong number of axes or a wrong size."""


class DtypeError(ContractError):
    """A tensor has the wrong dtype; its shape may fit."""


class ModeError(ContractError):
    """A model was called in a mode that makes its outputs random or its buffers drift."""


class DirectForwardWarning(UserWarning):
    """`model.forward(x)` was called directly, which skips every hook and the mode guard."""


for _public in (ContractError, ShapeError, DtypeError, ModeError, DirectForwardWarning):
    _public.__module__ = "tinynets"  # the path under which users import and catch them
