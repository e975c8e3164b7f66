"""Every exception and warning class of the library: the fields of a `ContractError`, the layout of a
`Failure` (`where`, `size`, `cause`), and the text of a `ModelCheckError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import TypeCheckError


class ContractError(TypeCheckError):
    """A value broke the contract written in an annotation.

    The message is for people, the fields are for programs. Both survive pickling, so the error arrives
    complete from a `DataLoader` worker or another process.

    Attributes:
        module_path: path of the module below the outermost called one (`encoder.blocks.3`), or `""`.
        where: the argument, variable or `"return"` that was checked.
        axis: index of the first axis that does not match, or None if the error is not about one axis.
        expected: what the annotation requires, such as `float [batch 1 28 28]`.
        got: the value, such as `float32 [32 28 28 1]`.
        bindings: the sizes of the axis names that were bound before.
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
    """A tensor has the wrong dtype; its shape may be right."""


class ModeError(ContractError):
    """A model was called in a mode that makes its outputs random or its buffers drift."""


class DirectForwardWarning(UserWarning):
    """`model.forward(x)` was called directly, which skips every hook and the mode guard."""


class LoopsOverAxisError(Exception):
    """The model iterates over a symbolic axis, which therefore needs a fixed size."""


class CheckpointError(RuntimeError):
    """A file or state dict does not contain the weights of the requested model."""


class TargetError(Exception):
    """A target does not name a model; the message says what to write."""


class InputError(TypeError):
    """The inputs cannot be created from the arguments; the message says what to pass."""


class Failure(Exception):  # noqa: N818 - the verdict of a check
    """A check failed.

    Args:
        what: what changed or broke, in one sentence.
        where: which output, parameter or module, with an index.
        size: how large the difference is, and the limit.
        cause: the most likely cause, if something in the model points to one.
        error: the exception that the model raised, if any.
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
    """A check does not apply; the message says why."""


class CheckTimeout(BaseException):
    """A check ran out of time. Not an `Exception`, which a model might catch."""


class ThreadStopped(BaseException):
    """Raised to end a thread of `purity.threads` that ran out of time."""


class MixedDevicesError(RuntimeError):
    """An operation was called with tensors on two devices."""


class ModelCheckError(AssertionError):
    """Checks failed or could not be completed; the message lists them, and `report` is the `Report`."""

    def __init__(self, report: Any) -> None:
        self.report = report
        super().__init__(report)

    def __str__(self) -> str:
        bad = self.report.bad
        failed = sum(result.status != "error" for result in bad)
        counts = ", ".join(f"{count} {status}" for status, count in self.report.counts.items())
        head = f"{self.report.name}: {failed} of {len(self.report)} checks failed ({counts})"
        texts = [f"{result.id} ({result.status}): {self.report.message(result)}" for result in bad]
        return "\n\n".join([head, *texts])


class ModelCheckWarning(UserWarning):
    """Checks of level `should` failed, or `check_model` was asked to warn about failures."""


class UnsupportedAxesError(ValueError):
    """An axis string is not supported in a forward pass."""


class NoSourceError(Exception):
    """The source of a function cannot be read, or is not what it was compiled from."""


# Tracebacks and pickles use the path under which users import these classes.
for _public in (ContractError, ShapeError, DtypeError, ModeError, DirectForwardWarning, CheckpointError):
    _public.__module__ = "tinynets"
for _public in (Failure, Skip, ModelCheckError, ModelCheckWarning):
    _public.__module__ = "tinynets.testing"
