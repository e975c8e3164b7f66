"""Whether weights can be swapped, modules hooked and samples differentiated one by one from outside."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ..arguments import Arguments
from ..base import Failure, Level, Skip, check
from ..compare import Leaf, detached, objective, worst
from ..globals import seed_everything
from ..held import held_tensors, listed, named_modules
from ..subject import Subject, raised
from ..twins import short

State = dict[str, Tensor]


@check("transforms.functional_call", Level.MUST)
def functional(subject: Subject) -> str | None:
    """`torch.func.functional_call` with other weights gives what the model with these weights gives.

    Why: ensembles, meta-learning, per-sample gradients and influence functions swap weights this way.
    Fix: read `self.weight` in forward, each time; keep nothing that is computed from a weight, and no weight
    in a list or a closure.
    Declare: an exemption.
    """
    parameters = {name: p.detach().clone() for name, p in subject.model.named_parameters()}
    buffers = {name: buffer.detach() for name, buffer in subject.model.named_buffers()}
    if not parameters:
        raise Skip("the model has no parameters")

    def called(replaced: State) -> list[Leaf]:
        subject.model.eval()
        batch = subject.batch()
        seed_everything(subject.seed)
        state = {name: tensor.clone() for name, tensor in {**parameters, **buffers, **replaced}.items()}
        try:
            with torch.no_grad():
                return detached(functional_call(subject.model, state, batch.args, batch.kwargs))
        except Exception as error:
            raise raised(error) from error

    found = worst(called({}), subject.reference)
    if found is not None:
        size = f"{found.error:.1e} of the largest value (limit 0)"
        raise Failure(
            "functional_call with the model's own weights gives another output", where=found.where, size=size
        )
    swapped = called({name: tensor * 0.5 for name, tensor in parameters.items()})
    subject.restore()  # without what the calls have left in attributes
    _halve(subject, list(parameters))
    expected = subject.outputs(subject.batch())
    found = worst(swapped, expected)
    if found is None:
        changed = worst(expected, subject.reference) is not None
        return None if changed else "halving every weight changes no output, so this says little"
    raise Failure(
        "functional_call does not use all the weights that it is given",
        where=found.where,
        size=f"{found.error:.1e} of the largest value (limit 0)",
        cause=_bypassed(subject, called, parameters),
    )


def _halve(subject: Subject, names: list[str]) -> None:
    with torch.no_grad():
        for name in names:
            subject.model.get_parameter(name).mul_(0.5)


def _bypassed(subject: Subject, called: Any, parameters: State) -> str:
    """Name the parameters whose replacement goes unnoticed, and the tensors that may be used instead."""
    found: list[str] = []
    for name in list(parameters)[:100]:
        subject.restore()
        swapped = called({name: parameters[name] * 0.5})
        subject.restore()
        _halve(subject, [name])
        if worst(swapped, subject.outputs(subject.batch())) is not None:
            found.append(name)
    subject.restore()
    held = [path for path, _ in held_tensors(subject.model)]
    instead = f"; the model also holds {listed(held)}" if held else ""
    return f"{listed(found)}: what is given for it is not used{instead}" if found else instead.lstrip("; ")


@check("transforms.hooks", Level.MUST)
def hooks(subject: Subject) -> str | None:
    """Every module that runs is called, so that its hooks run: none by `module.forward(x)`.

    Modules whose weights are read but which are not called (`out_proj` of `nn.MultiheadAttention`), and
    modules that do not run at all, are reported, not judged.

    Why: feature extraction, pruning, quantisation, profiling and sharding of weights are hooks.
    Fix: `self.block(x)`, never `self.block.forward(x)`.
    Declare: an exemption.
    """
    fired: set[int] = set()
    direct: set[int] = set()
    modules = [(path, module) for path, module in named_modules(subject.model) if _callable(module)]

    def note(module: nn.Module, *_: object) -> None:
        fired.add(id(module))

    for _, module in modules:
        module.register_forward_hook(note)
    _run_both_modes(subject)
    silent = [(path, module) for path, module in modules if id(module) not in fired]
    if not silent:
        return None
    for _, module in silent:
        _watch_forward(module, direct)
    _run_both_modes(subject)
    bypassed = [path for path, m in silent if id(m) in direct and next(m.parameters(), None) is not None]
    if bypassed:
        raise Failure(
            "modules run without being called, so their hooks do not",
            where=listed(bypassed),
            cause=f"`{bypassed[0]}.forward(...)` is called: call the module itself",
        )
    return f"hooks do not run on {listed([path for path, _ in silent])}: never called as a module"


def _callable(module: nn.Module) -> bool:
    """Whether a module has a forward: lists and dicts of modules have none."""
    return type(module).forward is not nn.Module.forward and not isinstance(module, torch.jit.ScriptModule)


def _watch_forward(module: nn.Module, seen: set[int]) -> None:
    forward = module.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.add(id(module))
        return forward(*args, **kwargs)

    vars(module)["forward"] = watched


def _run_both_modes(subject: Subject) -> None:
    subject.run(subject.batch())
    with suppress(Failure):  # contract.runs_train says so
        subject.run(subject.batch(training=True), training=True)


@check("transforms.per_sample_grads", Level.CAPABILITY)
def per_sample_gradients(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """`vmap(grad(...))` over samples gives the gradients that a loop over the samples gives.

    In eval mode, for two samples. The error is measured against the largest gradient of all parameters.

    Why: differential privacy, influence functions and gradient statistics need the gradient of each sample.
    Fix: no `.item()`, no branch on values and no assignment into a tensor made by `torch.zeros` in forward.
    Declare: by `supports=` where you count on it.
    """
    parameters = {name: p.detach() for name, p in subject.model.named_parameters() if p.requires_grad}
    if not parameters:
        raise Skip("the model has no parameters to differentiate by")
    batch = subject.batch(2)
    axes = batch.axes

    def loss(weights: State, *tensors: Tensor) -> Tensor:
        single = [t if axis is None else t.unsqueeze(axis) for t, axis in zip(tensors, axes, strict=True)]
        one = batch.with_tensors(single)
        result = objective(functional_call(subject.model, weights, one.args, one.kwargs))
        if result is None:
            raise Skip("no output is floating-point")
        return result

    subject.model.eval()
    inputs = [tensor.detach() for tensor in batch.tensors]
    try:
        transform = vmap(grad(loss), in_dims=(None, *axes), randomness="same")
        together = cast("State", transform(parameters, *inputs))
    except Skip:
        raise
    except Exception as error:
        failure = raised(error)
        failure.what = f"vmap(grad(...)) raised {short(error)}"
        raise failure from error
    scale = max(float(gradient.abs().max()) for gradient in together.values() if gradient.numel())
    errors: list[tuple[float, str]] = []
    for index in range(2):
        alone = _gradients(subject, batch.rows([index]), list(parameters))
        for name, gradient in zip(parameters, alone, strict=True):
            gap = (together[name][index] - gradient).abs().max()
            errors.append((float(gap.nan_to_num(nan=float("inf"))) / (scale or 1.0), name))
    error, name = max(errors)
    if error > tolerance:
        size = f"{error:.1e} of the largest gradient (limit {tolerance:.0e})"
        raise Failure("vmap gives other gradients than a loop", where=f"`{name}`", size=size)
    return None if scale else "every gradient is 0, so this says little"


def _gradients(subject: Subject, sample: Arguments, names: list[str]) -> list[Tensor]:
    weights = [subject.model.get_parameter(name) for name in names]
    with torch.enable_grad():
        loss = objective(subject.call(sample))
    if loss is None or not loss.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return list(found)
