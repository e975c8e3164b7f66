from __future__ import annotations

from typing import Any, cast

from torch import nn

from ...._torch.state.walk_item import Role
from ... import Failure, Level, Subject, check
from ...call_helpers import call_no_grad, listed, named_or_type, still_training
from ...measure.compare import Difference, Leaf, worst
from ...snapshot.snapshot import Snapshot


@check("modes.roundtrip", Level.MUST)
def roundtrip(subject: Subject) -> str | None:
    """`eval()` reaches every module, and `train()` followed by `eval()` leaves the outputs bit-identical.

    Why: every training loop does it once per epoch.
    Fix: a class that overrides `train` must set its modes on every call, call `super().train(mode)` and
    return self; put modules in an `nn.ModuleList`, not in a list.
    Declare: nothing: modules that stay in eval mode, as a frozen BatchNorm does, are only reported.
    """
    model = subject.model
    for mode in (True, False):
        returned = cast("Any", model.train(mode) if mode else model.eval())
        if returned is not model:
            name = "train" if mode else "eval"
            cause = f"{_overriding(type(model))}.train has to end with `return self`"
            raise Failure(f"{name}() returns {returned!r:.40}, not the model", cause=cause)
    if left := still_training(model):
        raise Failure("eval() leaves modules in training mode", where=left)
    model.train()
    frozen = [path for path, module in named_or_type(model) if not module.training]

    def call() -> list[Leaf]:
        return call_no_grad(subject, subject.batch(), seed=subject.seed)

    def measure() -> Difference | None:
        model.eval()
        first = call()
        model.train()
        model.eval()
        return worst(call(), first)

    def objection(found: Difference) -> Failure:
        model.eval()
        before = Snapshot(model)
        model.train()
        model.eval()
        written = [change for change in before.changes() if change.role is not Role.FLAG]
        cause = f"switching changes {listed([str(change) for change in written])}" if written else ""
        return Failure("train() and eval() do not bring the outputs back", where=found.where, cause=cause)

    note = subject.assert_close(measure, objection, tolerance=0.0)
    stays = f"{listed(frozen)} stay{'s' * (len(frozen) == 1)} in eval mode when train() is called"
    return stays if frozen and note is None else note


def _overriding(cls: type[nn.Module]) -> str:
    return next(base.__name__ for base in cls.__mro__ if "train" in vars(base) or "eval" in vars(base))
