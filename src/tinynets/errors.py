"""Every exception and warning of the library; those that programs read carry their facts as fields."""

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


class LoopsOverAxisError(Exception):
    """The model takes a symbolic axis apart, so that it must have the size that it has."""


class CheckpointError(RuntimeError):
    """A file or state dict does not hold the weights of the model that was asked for."""


class TargetError(Exception):
    """The target does not lead to a model; the message says what to write."""


class InputError(TypeError):
    """The inputs cannot be made from what was given; the message says what to pass."""


class Failure(Exception):  # noqa: N818 - what a check raises is its verdict, not an error of its own
    """The objection of a check.

    Args:
        what: what changed or broke, in one sentence.
        where: which output, parameter or module, with an index.
        size: how large, against which limit.
        cause: the most likely cause, when something found in the model supports one.
        error: the exception that the model raised, if it did.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        size: str = "",
        cause: str = "",
        error: BaseException | None = None,
    ) -> None:
        super().__init__(what, where, size, cause)
        self.what, self.where, self.size, self.cause, self.error = what, where, size, cause, error

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("where", self.where), ("size", self.size), ("cause", self.cause)):
            if text:
                lines.append(f"  {label:<8} {text}")
        return "\n".join(lines)


class Skip(Exception):  # noqa: N818
    """Raised by a check that does not apply, with the reason as its message."""


class CheckTimeout(BaseException):
    """A check has run out of time. Not an `Exception`, which a model might catch."""


class ThreadStopped(BaseException):
    """Raised to end a thread of `purity.threads` that has run out of time."""


class MixedDevicesError(RuntimeError):
    """An operation got tensors of two devices."""


class ModelCheckError(AssertionError):
    """One or more checks failed; the message has all of them, and `report` (a `Report`) everything else."""

    def __init__(self, report: Any) -> None:
        self.report = report
        super().__init__(report)

    def __str__(self) -> str:
        bad = [result for result in self.report if result.bad]
        counts = ", ".join(f"{count} {status}" for status, count in self.report.counts.items())
        head = f"{self.report.name}: {len(bad)} of {len(self.report)} checks failed ({counts})"
        return "\n\n".join([head, *(f"{result.id} ({result.status}): {result.message}" for result in bad)])


class ModelCheckWarning(UserWarning):
    """Checks failed, or objected at the level `should`, and `check_model` was asked to warn."""


class UnsupportedAxesError(ValueError):
    """The axis string asks for something that has no meaning in a forward pass."""


class NoSourceError(Exception):
    """The source is not at hand, or is not what the function was compiled from."""


# The path under which users import and catch them.
for _public in (ContractError, ShapeError, DtypeError, ModeError, DirectForwardWarning, CheckpointError):
    _public.__module__ = "tinynets"
for _public in (Failure, Skip, ModelCheckError, ModelCheckWarning):
    _public.__module__ = "tinynets.testing"
