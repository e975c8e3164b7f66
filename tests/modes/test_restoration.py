"""Random trees, random orders of entering and leaving: every flag must come back.

Two simple models of what is right. Left in proper order, a block gives back the flags it found, whatever was
done to them inside. Left in any order, a module is in the mode of the last block entered that is still open,
or in its first mode. The same checks must fail for the implementation that keeps the root's flag only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tinynets.modes import evaluating, freeze, frozen, inference, is_frozen, training, unfreeze

torch.set_num_threads(1)

Entering = Callable[..., AbstractContextManager[None]]


@contextlib.contextmanager
def _root_flag_only(model: nn.Module, mode: bool) -> Iterator[None]:
    """What MONAI, torchinfo and torchview did: remember one flag, give it to everything."""
    before = model.training
    model.train(mode)
    try:
        yield
    finally:
        model.train(before)


OURS: dict[str, Entering] = {"training": training, "evaluating": evaluating, "inference": inference}
NAIVE: dict[str, Entering] = {
    "training": lambda model: _root_flag_only(model, True),
    "evaluating": lambda model: _root_flag_only(model, False),
    "inference": lambda model: _root_flag_only(model, False),
}


class _KeepsEval(nn.Sequential):
    """A class that overrides `train`, as backbones with a frozen BatchNorm do."""

    def train(self, mode: bool = True) -> _KeepsEval:
        super().train(mode)
        for child in self.children():
            if isinstance(child, nn.BatchNorm1d):
                child.eval()
        return self


@st.composite
def trees(draw: st.DrawFn, overriding: bool = False, depth: int = 3) -> nn.Module:
    leaves = st.sampled_from([lambda: nn.Linear(2, 2), nn.Dropout, lambda: nn.BatchNorm1d(2)])
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        module: nn.Module = draw(leaves)()
    else:
        children = draw(st.lists(trees(overriding=overriding, depth=depth - 1), max_size=3))
        cls = _KeepsEval if overriding and draw(st.booleans()) else nn.Sequential
        module = cls(*children)
    module.training = draw(st.booleans())
    return module


def flags(model: nn.Module) -> dict[nn.Module, bool]:
    return {module: module.training for module in model.modules()}


def grads(model: nn.Module) -> dict[nn.Parameter, bool]:
    return {parameter: parameter.requires_grad for parameter in model.parameters()}


class _Open:
    """An entered block."""

    def __init__(self, context: AbstractContextManager[None], part: nn.Module, name: str) -> None:
        self.context, self.modules, self.name = context, set(part.modules()), name
        context.__enter__()


@contextlib.contextmanager
def _closing() -> Iterator[list[_Open]]:
    blocks: list[_Open] = []
    try:
        yield blocks
    finally:  # hypothesis cuts examples short; what they left open must not reach the next one
        while blocks:
            blocks.pop(0).context.__exit__(None, None, None)


class _LeftError(Exception):
    pass


def check_proper_order(data: st.DataObject, model: nn.Module, entering: dict[str, Entering]) -> None:
    """Nest blocks at random, change flags and children inside, leave by exception or not."""
    for parameter in model.parameters():
        parameter.requires_grad_(data.draw(st.booleans()))

    def nest(depth: int) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            modules = list(model.modules())
            part = data.draw(st.sampled_from(modules))
            action = data.draw(st.sampled_from([*entering, "flag", "train", "eval", "add", "remove"]))
            if action in entering and depth < 4:
                before, grads_before, raising = flags(model), grads(model), data.draw(st.booleans())
                held = set(part.modules())
                with contextlib.suppress(_LeftError), entering[action](part):
                    if not raising:
                        nest(depth + 1)
                    else:
                        part.train(not part.training)
                        raise _LeftError
                after = flags(model)
                for module, flag in before.items():
                    if module in held:
                        assert module.training == flag
                grads_after = grads(model)
                assert all(
                    grads_after.get(parameter, flag) == flag for parameter, flag in grads_before.items()
                )
                assert all(isinstance(flag, bool) for flag in after.values())
            elif action == "flag" and not is_frozen(part):  # frozen goes back to eval at the next train()
                part.training = not part.training
            elif action == "train":
                part.train()
            elif action == "eval":
                part.eval()
            elif action == "add" and isinstance(part, nn.Sequential):
                part.append(nn.Dropout())
            elif action == "remove" and isinstance(part, nn.Sequential) and len(part):
                del part[0]

    nest(0)


def check_any_order(data: st.DataObject, model: nn.Module, entering: dict[str, Entering]) -> None:
    """Enter and leave in any order; after each step compare with "the last one entered wins"."""
    first = flags(model)
    steps = data.draw(st.integers(1, 12))
    with _closing() as blocks:
        for step in range(2 * steps):
            if blocks and (step >= steps or data.draw(st.booleans())):
                blocks.pop(data.draw(st.integers(0, len(blocks) - 1))).context.__exit__(None, None, None)
            elif step < steps:
                part = data.draw(st.sampled_from(list(model.modules())))
                name = data.draw(st.sampled_from(list(entering)))
                blocks.append(_Open(entering[name](part), part, name))
            for module, flag in first.items():
                wanted = [block.name == "training" for block in blocks if module in block.modules]
                assert module.training == (wanted[-1] if wanted else flag)
    assert flags(model) == first
    assert not torch.is_inference_mode_enabled()


CHECKS = [check_proper_order, check_any_order]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.slow
def test_every_flag_comes_back(check: Callable[..., None]) -> None:
    entering = {**OURS, "frozen": frozen} if check is check_proper_order else OURS

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(data=st.data(), model=trees(overriding=check is check_proper_order))
    def run(data: st.DataObject, model: nn.Module) -> None:
        check(data, model, entering)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_every_flag_comes_back_at_length(check: Callable[..., None]) -> None:
    @settings(max_examples=600, deadline=None, database=None)
    @given(data=st.data(), model=trees(overriding=check is check_proper_order))
    def run(data: st.DataObject, model: nn.Module) -> None:
        check(data, model, OURS)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_these_checks_catch_an_implementation_that_keeps_the_root_flag_only(
    check: Callable[..., None],
) -> None:
    @settings(max_examples=150, deadline=None, database=None, derandomize=True, report_multiple_bugs=False)
    @given(data=st.data(), model=trees())
    def run(data: st.DataObject, model: nn.Module) -> None:
        check(data, model, NAIVE)

    with pytest.raises(AssertionError):
        run()


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data(), model=trees())
def test_freezing_commutes_with_the_modes(data: st.DataObject, model: nn.Module) -> None:
    """In whatever order blocks and freezes end: what is frozen is in eval mode, and no flag is lost."""
    first, first_grads = flags(model), grads(model)
    frozen_for_good: set[nn.Module] = set()
    with _closing() as blocks:
        for _ in range(data.draw(st.integers(1, 10))):
            part = data.draw(st.sampled_from(list(model.modules())))
            action = data.draw(
                st.sampled_from([*OURS, "frozen", "freeze", "unfreeze", "train", "leave", "leave"])
            )
            if action == "leave" and blocks:
                blocks.pop(data.draw(st.integers(0, len(blocks) - 1))).context.__exit__(None, None, None)
            elif action == "freeze":
                freeze(part)
                frozen_for_good |= set(part.modules())
            elif action == "unfreeze":
                unfreeze(part)
                frozen_for_good -= set(part.modules())
            elif action == "train":
                with evaluating(model):
                    model.train()
                    assert not any(module.training for module in frozen_for_good)
            elif action != "leave":
                blocks.append(_Open({**OURS, "frozen": frozen}[action](part), part, action))
            for module, flag in first.items():
                holding = [block.name for block in blocks if module in block.modules]
                modes = [name == "training" for name in holding if name != "frozen"]
                held = module in frozen_for_good or "frozen" in holding
                assert module.training == (not held and (modes[-1] if modes else flag))
                for parameter in module.parameters(recurse=False):
                    assert parameter.requires_grad == (not held and first_grads[parameter])
    unfreeze(model)
    assert (flags(model), grads(model)) == (first, first_grads)
