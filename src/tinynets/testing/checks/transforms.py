"""Whether weights can be swapped, modules hooked and samples differentiated one by one from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ..._torch.hooks import forward_hooks
from ..._torch.module_tables import named_modules
from ..._torch.random_states import seed_everything
from ..._torch.unregistered import unregistered_tensors
from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..definition import Level, check
from ..measure.compare import FLOAT32_LIMIT, Difference, Leaf, detached, objective, worst
from ..measure.state_compare import short
from ..subject import Subject, raised
from ..wording import quoted

State = dict[str, Tensor]


@check("transforms.functional_call", Level.MUST)
def functional(subject: Subject) -> str | None:
    """`torch.func.functional_call` with other weights gives what the model with these weights gives.

    Why: ensembles, meta-learning, per-sample gradients and influence functions swap weights this way.
    Fix: read `self.weight` in forward, each time; keep nothing that is computed from a weight, and no weight
    in a list or a closure.
    Declare: an exemption.
    """
    others = _other_weights(subject.model)
    if not others:
        raise Skip("the model has no parameters")

    def measure() -> Difference | None:
        subject.model.eval()
        return worst(_called_with(subject, {}), subject.outputs(subject.batch()))

    def objection(found: Difference) -> Failure:
        return Failure("functional_call with the model's own weights gives another output", where=found.where)

    note = subject.close(measure, objection)
    found, changed = _compared(subject, others)
    if found is not None and found.error > FLOAT32_LIMIT:
        raise Failure(
            "functional_call does not use all the weights that it is given",
            where=found.where,
            size=f"{found.error:.1e} of the largest value (limit {FLOAT32_LIMIT:.0e})",
            cause=_bypassed(subject, others),
        )
    return note if changed else "other weights give the same output, so this says little"


def _other_weights(model: nn.Module) -> State:
    """Return other values of the size that the parameters have; zeros change too."""
    floats = [(n, p.detach()) for n, p in model.named_parameters() if p.is_floating_point() or p.is_complex()]
    return {name: t * (0.5 + torch.rand_like(t)) + 0.05 * torch.randn_like(t) for name, t in floats}


def _called_with(subject: Subject, replaced: State) -> list[Leaf]:
    """Call the model by functional_call with its own weights, some of them replaced."""
    named = (*subject.model.named_parameters(), *subject.model.named_buffers())
    state = {name: tensor.detach().clone() for name, tensor in named} | replaced
    batch = subject.batch()
    seed_everything(subject.seed)
    try:
        with torch.no_grad():
            return detached(functional_call(subject.model, state, batch.args, batch.kwargs))
    except Exception as error:
        raise raised(error) from error


def _compared(subject: Subject, replaced: State) -> tuple[Difference | None, bool]:
    """Return how far swapped weights are from the same ones copied in, and whether these change anything."""
    subject.model.eval()
    _called_with(subject, {})  # what keeps something keeps it now
    swapped = _called_with(subject, replaced)
    subject.restore()  # without what the calls have left in attributes
    with torch.no_grad():
        for name, tensor in replaced.items():
            subject.model.get_parameter(name).copy_(tensor)
    expected = subject.outputs(subject.batch())
    subject.restore()
    return worst(swapped, expected), worst(expected, subject.reference) is not None


def _bypassed(subject: Subject, others: State) -> str:
    """Name the parameters whose replacement goes unnoticed, and the tensors that may be used instead."""
    unused: list[str] = []
    held: list[str] = []
    deadline = time.monotonic() + 5
    for name in others:
        if time.monotonic() > deadline:
            break
        subject.run(subject.batch())
        held = [path for path, _ in unregistered_tensors(subject.model)]
        found, _ = _compared(subject, {name: others[name]})
        if found is not None and found.error > FLOAT32_LIMIT:
            unused.append(name)
    parts = [f"{quoted(unused)}: what is given for it is not used"] if unused else []
    return "; ".join(parts + ([f"the model also holds {quoted(held)}"] if held else []))


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

    def before(path: str, module: nn.Module, *_: object) -> None:  # which a module that raises has run, too
        fired.add(id(module))

    with forward_hooks(modules, before=before):
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
            where=quoted(bypassed),
            cause=f"`{bypassed[0]}.forward(...)` is called: call the module itself",
        )
    return f"hooks do not run on {quoted([path for path, _ in silent])}: never called as a module"


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
    if not any(parameter.requires_grad for parameter in subject.model.parameters()):
        raise Skip("the model has no parameters to differentiate by")

    def measure() -> Difference | None:
        return _vmap_against_loop(subject)

    def objection(found: Difference) -> Failure:
        return Failure("vmap gives other gradients than a loop", where=found.where)

    try:
        return subject.close(measure, objection, tolerance=tolerance)
    except Failure as failure:
        subject.restore()
        if failure.error is None and _spell_out_batch_norms(subject.model):
            with suppress(Failure):
                subject.close(measure, objection, tolerance=tolerance)
                raise Skip("torch's vmap over batch_norm in eval mode gives these gradients wrong") from None
        raise


def _vmap_against_loop(subject: Subject) -> Difference | None:
    """Return the largest error of a gradient, as a share of the largest gradient of all."""
    parameters = {name: p.detach() for name, p in subject.model.named_parameters() if p.requires_grad}
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
    if scale == 0:
        raise Skip("every gradient is 0")
    errors: list[tuple[float, str]] = []
    for index in range(2):
        alone = _gradients(subject, batch.rows([index]), list(parameters))
        for name, gradient in zip(parameters, alone, strict=True):
            gap = (together[name][index] - gradient).abs().max()
            errors.append((float(gap.nan_to_num(nan=float("inf"))) / scale, name))
    error, name = max(errors)
    return Difference(f"the gradient of `{name}`", (), error)


def _spell_out_batch_norms(model: nn.Module) -> bool:
    """Give batch norms a forward of plain arithmetic, the same in eval mode; return whether there are any."""

    def spelled_out(norm: Any) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            def along(vector: Tensor) -> Tensor:
                return vector.reshape(-1, *[1] * (x.ndim - 2))

            y = (x - along(norm.running_mean)) * along((norm.running_var + norm.eps).rsqrt())
            return y * along(norm.weight) + along(norm.bias) if norm.affine else y

        return forward

    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    norms = [m for _, m in named_modules(model) if isinstance(m, kinds) and m.track_running_stats]
    for norm in norms:
        vars(norm)["forward"] = spelled_out(norm)
    return bool(norms)


def _gradients(subject: Subject, sample: Arguments, names: list[str]) -> list[Tensor]:
    subject.model.train().eval()  # for models that forget by it what vmap has left in attributes
    weights = [subject.model.get_parameter(name) for name in names]
    with torch.enable_grad():
        loss = objective(subject.call(sample))
    if loss is None or not loss.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return list(found)
