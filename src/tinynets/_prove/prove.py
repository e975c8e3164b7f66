"""Prove the annotated lines of a model: trace at most 12 paths in eval mode, run failures and refused sizes
for real, run sizes of 1 and an empty batch, and say why it is `not proved`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from .._contract.contract import contract_of
from .._torch.modules.module_copies import drop_user_hooks, real_copy
from .._torch.state.random_states import preserved_random_states
from .._torch.tracing.fake_tensors import needs_values
from ..errors import InputError
from ..inputs.arguments import Arguments
from ..inputs.draw import draw, integer_limit
from ..inputs.symbolic_sizes import UNUSUAL_SIZE
from .conditions import Condition, described_sizes, needed, together
from .coverage import Coverage, Region
from .proof import Attempt, LineProof, Place, Proof, first_line, sizes_text
from .trace import Axes, Pass, enforced, traced, watched

_MOST_PASSES = 12
_REAL_BATCH = 2


def prove(model: nn.Module, example: Arguments) -> Proof:
    """Prove the declarations of a model, in eval mode, for every size of the axes that its inputs leave free.

    A pass with symbols for sizes says how far it goes for others: under which conditions. Sizes for which
    these do not hold are traced in turn, until no size is left. A pass that fails is run for real. The model
    is left as it is: a private copy is run.

    Raises:
        InputError: the model has no Python source, or lazy parameters without shapes.
    """
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{type(module).__name__} is scripted: it has no lines of Python")
    if any(isinstance(parameter, nn.UninitializedParameter) for parameter in model.parameters()):
        raise InputError("the model has lazy layers: call it once, so that its parameters have shapes")
    model = cast("nn.Module", getattr(model, "_orig_mod", model))  # the module inside torch.compile's wrapper
    with preserved_random_states(model):
        return _Prover(model, example).proof()


class _Prover:
    def __init__(self, model: nn.Module, example: Arguments) -> None:
        self.model, self.example = model, example
        known = example.axis_names or tuple(("",) * tensor.ndim for tensor in example.tensors)
        self.names: Axes = tuple(
            tuple(example.batch_name if index == batch else name for index, name in enumerate(own))
            for own, batch in zip(known, example.axes, strict=True)
        )
        self.sizes = {
            name: UNUSUAL_SIZE if name == example.batch_name else size
            for tensor, own in zip(example.tensors, self.names, strict=True)
            for name, size in zip(own, tensor.shape, strict=True)
            if name
        }
        self.coverage = Coverage(self.sizes)
        self.reached: dict[Place, list[Condition]] = {}
        self.wrong: dict[Place, tuple[str, str]] = {}
        self.refused: list[Attempt] = []
        self.small: list[Attempt] = []
        self.reason = ""
        self.traced = self._eval(model)

    def _eval(self, model: nn.Module) -> nn.Module:
        copied = real_copy(model)
        drop_user_hooks(copied)
        enforced(copied)
        return copied.eval()

    def proof(self) -> Proof:
        """Trace until no size is left."""
        self._trace_all()
        self._run_small()
        conditions, tied = self._conditions()
        return Proof(
            type(self.model).__name__,
            tuple(self.sizes),
            tuple(conditions),
            tuple(tied),
            tuple(
                self._line(place)
                for place in sorted(self.reached, key=lambda at: (at.file, at.line, at.kind != "argument"))
            ),
            tuple(self.refused),
            tuple(self.small),
            self.reason,
        )

    def _trace_all(self) -> None:
        for _ in range(_MOST_PASSES):
            at = self.coverage.uncovered()
            if at is None or self.reason:
                break
            self._pass(at)
        else:
            self.reason = f"after {_MOST_PASSES} ways that a pass may go, there are more"
        if not (self.reason or self.wrong or any(region.holds for region in self.coverage.regions)):
            error = first_line(self.refused[0].error) if self.refused else "no trace ends well"
            self.reason = f"no size that was tried runs: {error}"
        if not (self.reason or self.coverage.complete):
            joint = [c.text for c in self.coverage.conditions if not c.decided]
            self.reason = f"it depends on {', '.join(joint)}"

    def _pass(self, at: Mapping[str, int]) -> None:
        found = traced(self.traced, self.example, self.names, at)
        region = self.coverage.add(found.conditions, holds=found.error is None)
        for place, numbers in found.reached.items():
            demands = self.reached.setdefault(place, [])
            if found.error is None:
                demands += needed(found.conditions[number] for number in numbers)
        if any(axis not in self.sizes for c in region.conditions for axis in c.axes):
            self.coverage.regions.remove(region)
            self.reason = "a size depends on the values of tensors"
        elif not region.covers(at):
            self.reason = f"torch's trace for {sizes_text(at)} does not hold for these sizes"
        if found.error is None:
            return
        # A pass without values may fail because they are missing, so the real model decides.
        free = {axis for condition in region.conditions for axis in condition.axes}
        sizes = {
            n: _REAL_BATCH if n == self.example.batch_name and n not in free else s for n, s in at.items()
        }
        changed = {name: size for name, size in sizes.items() if name in free and size != self.sizes[name]}
        told = changed or {name: size for name, size in sizes.items() if name in free} or sizes
        run = self._run(sizes)
        if self._found_wrong(run, told):
            return
        alike = type(run.error) is type(found.error) or not needs_values(found.error)
        if run.error is not None and alike:
            self.refused.append(Attempt(sizes_text(told), "refused", _text(run.error)))
        else:
            self.reason = f"it cannot be traced without values: {first_line(_text(found.error))}"

    def _found_wrong(self, run: Pass, sizes: Mapping[str, int]) -> bool:
        """Note the line that a real call found wrong; arguments of the model itself say what it takes."""
        record = contract_of(getattr(self.traced.forward, "__func__", None))
        own = record.place.name if record is not None else None
        if run.failed is None or (run.failed.kind == "argument" and run.failed.function == own):
            return False
        self.wrong[run.failed] = (sizes_text(sizes), _text(run.error))
        self.reached.setdefault(run.failed, [])
        return True

    def _run(self, sizes: Mapping[str, int]) -> Pass:
        """Call the model with real tensors."""
        example, batch = self.example, sizes.get(self.example.batch_name)
        drawn = draw(example, batch, torch.Generator().manual_seed(0), integer_limit(self.model))
        for name, size in sizes.items():
            if name != example.batch_name:
                drawn = drawn.resized(name, size)
        return watched(self._eval(self.model), drawn)

    def _run_small(self) -> None:
        """Call the model with sizes of 1, for which torch has special rules, and with an empty batch."""
        usual = {n: _REAL_BATCH if n == self.example.batch_name else size for n, size in self.sizes.items()}
        tried = [{name: 1} for name in self.sizes]
        tried += [dict.fromkeys(self.sizes, 1)] if len(tried) > 1 else []
        tried += [{self.example.batch_name: 0}] if self.example.batch_name in self.sizes else []
        for sizes in tried if self.coverage.regions and not (self.wrong or self.reason) else ():
            run = self._run({**usual, **sizes})
            self._found_wrong(run, sizes)
            outcome = "holds" if run.error is None else "fails" if run.failed in self.wrong else "refused"
            self.small.append(Attempt(sizes_text(sizes), outcome, _text(run.error)))

    def _conditions(self) -> tuple[list[str], list[str]]:
        """Return the conditions on sizes, and the axes that the model accepts in only one size."""
        texts: list[str] = []
        tied: list[str] = []
        for axis in self.sizes:
            allowed = self.coverage.allowed(axis)
            if allowed is None:
                every = dict.fromkeys(
                    " and ".join(together(region.conditions))
                    for region in self.coverage.regions
                    if region.holds
                )
                return [" or ".join(f"({text})" if len(every) > 1 else text for text in every)], []
            found = described_sizes(axis, allowed, self.coverage.until(axis))
            texts += found or ()
            tied += [text for text in found or () if len(allowed) == 1]
        return texts, [] if self.reason else tied  # sizes that could not be traced may be valid too

    def _line(self, place: Place) -> LineProof:
        # A condition that only decides between two valid paths is not a demand.
        good = [region for region in self.coverage.regions if region.holds]
        demands = tuple(together(c for c in self.reached[place] if self._demanded(c, good)))
        if place in self.wrong:
            return LineProof(place, "fails", demands, *self.wrong[place])
        return LineProof(place, "unproved" if self.reason else "proved", demands)

    def _demanded(self, condition: Condition, good: list[Region]) -> bool:
        single = condition.decided and len(condition.axes) == 1
        allowed = self.coverage.allowed(condition.axes[0]) if single else None
        if allowed is None:
            return all(condition in region.conditions for region in good)
        return all(condition.holds({condition.axes[0]: size}) for size in allowed)


def _text(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if error is not None else ""
