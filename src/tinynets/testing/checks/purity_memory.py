"""Whether a call leaves other people's tensors alone: its arguments, its outputs, their memory and graphs."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..._torch.module_tables import computed_by_a_hook, named_modules
from ..._torch.random_states import seed_everything
from ..._torch.reachable import reachable
from ..._torch.tensors import write_count
from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..call_helpers import again, listed
from ..definition import Level, check
from ..locate.divergence import culprits, first_difference
from ..measure.compare import Difference, Leaf, detached, leaves, objective, outline, same_bits, worst
from ..subject import Subject, raised

_CALLS = 3  # what grows twice in a row does not stop


@check("purity.inputs", Level.MUST)
def inputs(subject: Subject) -> None:
    """A call does not write to its arguments: tensors, their flags, and the lists and dicts around them.

    Why: the caller uses them again: for another model, for a loss, in the next epoch.
    Fix: no in-place operation before the first one that makes a new tensor: `x = x + 1`, not `x += 1`;
    `inplace=False` in the first layer; `dict(batch)` before `pop`.
    Declare: an exemption with the reason.
    """
    for training in (False, True):
        subject.restore()
        subject.model.train(training)
        arguments = subject.batch(training=training)
        mode = "training" if training else "eval"
        copies = [tensor.detach().clone() for tensor in arguments.tensors]
        states, structure = _written_states(arguments), _structure(arguments)
        again(subject, arguments)
        if _structure(arguments) != structure:
            raise Failure(
                f"a call in {mode} mode changes a container among its arguments",
                where=f"{structure} -> {_structure(arguments)}",
            )
        values = [same_bits(a, b) for a, b in zip(arguments.tensors, copies, strict=True)]
        now = zip(arguments.names, states, _written_states(arguments), values, strict=True)
        written = [name for name, old, new, same in now if old != new or not same]
        if not written:
            continue
        fresh = subject.batch(training=training)

        def watch(fresh: Arguments = fresh) -> Callable[[], object]:
            before = _written_states(fresh)
            return lambda: before != _written_states(fresh)

        found = culprits(subject.model, partial(again, subject, fresh), watch)
        raise Failure(
            f"a call in {mode} mode writes to its arguments",
            where=listed(written),
            size="" if not all(values) else "the values are the same afterwards, but autograd counts a write",
            cause=f"done by {listed(found)}" if found else "",
        )


@check("purity.alias", Level.SHOULD)
def alias(subject: Subject) -> None:
    """The outputs have memory of their own: none of an argument, a parameter, a buffer or an attribute.

    Why: whoever writes to the output in place, as `logits.softmax_()` and many a loss do, writes there.
    Fix: `.clone()` what is returned unchanged or as a view.
    Declare: an exemption; a module that only reshapes has to share.
    """
    model, arguments = subject.model, subject.batch()
    model.eval()
    output = leaves(_without_gradients(subject, arguments))
    own = [(item.path, item.value) for item in reachable(model) if isinstance(item.value, Tensor)]
    others = [*zip(arguments.names, arguments.tensors, strict=True), *own]
    memory = {where: name for name, tensor in reversed(others) if (where := _memory(tensor))}
    outputs = {id(leaf.tensor) for leaf in output}
    kept = [path for path, tensor in own if id(tensor) in outputs]
    pairs = [
        f"{leaf.name} and {memory[where]}"
        for leaf in output
        if (where := _memory(leaf.tensor)) is not None and where in memory
    ]
    if pairs:
        cause = f"the model keeps what it returns: {listed(kept)}" if kept else "a view, or returned as it is"
        raise Failure("an output shares its memory", where=listed(pairs), cause=cause)


@check("purity.grad_modes", Level.MUST)
def grad_modes(subject: Subject) -> str | None:
    """With gradients, under `no_grad` and under `inference_mode` the outputs are the same.

    Why: what is evaluated has to be what was trained.
    Fix: no branch on `torch.is_grad_enabled()` or on `requires_grad`; the message has the module.
    Declare: an exemption with the reason.
    """
    model = subject.model
    modes = {"enable_grad": torch.enable_grad, "inference_mode": torch.inference_mode}

    def call(mode: Callable[[], Any]) -> list[Leaf]:
        model.eval()
        seed_everything(subject.seed)
        with mode():
            output = subject.call(subject.batch())
        return detached(output)  # outside, so that it is an ordinary tensor

    def differences() -> dict[str, Difference]:
        plain = call(torch.no_grad)
        found = {name: worst(call(mode), plain) for name, mode in modes.items()}
        return {name: difference for name, difference in found.items() if difference is not None}

    def measure() -> Difference | None:
        return max(differences().values(), key=lambda found: found.error, default=None)

    def objection(found: Difference) -> Failure:
        measured = differences()
        name = max(measured, key=lambda name: measured[name].error)
        module = first_difference(model, partial(call, torch.no_grad), partial(call, modes[name]))
        return Failure(
            f"the output under {name} differs from that under no_grad",
            where=f"{found.where}{f', from {module} on' if module else ''}",
        )

    return subject.close(measure, objection)


@check("purity.inference_then_train", Level.MUST)
def inference_then_train(subject: Subject) -> None:
    """After a call under `torch.inference_mode`, training works.

    Why: a table that the first call computes and keeps is made without autograd for good when that call is an
    evaluation, and the first training step fails, far from the cause.
    Fix: compute tables in `__init__`, or with `torch.inference_mode(False)`; do not keep tensors.
    Declare: an exemption with the reason.
    """
    model, arguments = subject.model, subject.batch(training=True)

    def train() -> None:
        model.train()
        with torch.enable_grad():
            total = objective(subject.call(arguments.clone()))
            if total is not None and total.requires_grad:
                try:
                    total.backward()  # pyright: ignore[reportUnknownMemberType]
                except RuntimeError as error:
                    raise raised(error) from error

    model.eval()
    with torch.inference_mode():
        subject.call(subject.batch())
    kept = [
        item.path for item in reachable(model) if isinstance(item.value, Tensor) and item.value.is_inference()
    ]
    try:
        train()
    except Failure as failure:
        subject.restore()
        try:
            train()
        except Failure as same:
            raise Skip(f"a training step fails without it too: {same.what}") from None
        raise Failure(
            f"after a call under inference_mode, {failure.what}",
            where=failure.where,
            cause=f"kept from that call: {listed(kept)}" if kept else "",
            error=failure.error,
        ) from None


@check("purity.retention", Level.MUST)
def retention(subject: Subject) -> None:
    """After a call nothing keeps its arguments, its output or its graph, and no container has grown.

    Why: memory that grows with every step ends in an out-of-memory error hours later.
    Fix: `.detach()` what is logged, or `.item()`; bound a cache; do not register a hook in `forward`.
    Declare: `stateful=True` allows tensors and containers of the model to grow.
    """
    model = subject.model
    model.train()
    graphs = {item.path for item in reachable(model) if _has_graph(item.value)}
    # The old weight and spectral norms keep one small graph, that of the weight, until the next call.
    graphs |= {
        f"{path}.{name}".lstrip(".")
        for path, module in named_modules(model)
        for name in vars(module)
        if computed_by_a_hook(module, name)
    }
    sizes: list[dict[str, int]] = []
    for seed in range(_CALLS):
        arguments = subject.batch(seed=seed, training=True)
        known = {id(item.value) for item in reachable(model)} | {id(t) for t in arguments.tensors}
        with torch.enable_grad():
            output = subject.call(arguments)
        made = {leaf.name: leaf.tensor for leaf in leaves(output) if id(leaf.tensor) not in known}
        tensors = {**dict(zip(arguments.names, arguments.tensors, strict=True)), **made}
        references = {name: weakref.ref(tensor) for name, tensor in tensors.items()}
        del arguments, output, made, tensors
        _refuse_kept(model, references, graphs)
        sizes.append(_sizes(model))
    growing = [
        f"{path}: {' -> '.join(str(size[path]) for size in sizes)}"
        for path in sizes[0]
        if all(path in size for size in sizes) and sizes[0][path] < sizes[1][path] < sizes[2][path]
    ]
    if growing and not subject.stateful:
        raise Failure("what the model holds grows with every call", where=listed(growing))


def _refuse_kept(model: nn.Module, references: dict[str, weakref.ref[Tensor]], graphs: set[str]) -> None:
    held = reachable(model)
    kept = [item.path for item in held if _has_graph(item.value) and item.path not in graphs]
    if kept:
        raise Failure(
            "an attribute keeps the graph of a call, with all activations in it",
            where=listed(kept),
            cause="a tensor is stored without .detach()",
        )
    if not any(reference() is not None for reference in references.values()):
        return
    del held
    gc.collect()  # only here, since it costs more than most models do
    alive = {name: t for name, reference in references.items() if (t := reference()) is not None}
    if alive:
        ids = {id(tensor) for tensor in alive.values()}
        paths = [item.path for item in reachable(model) if id(item.value) in ids]
        raise Failure(
            f"a call keeps {listed(list(alive))} alive",
            where=listed(paths),
            cause=""
            if paths
            else "it is kept outside of the model's attributes: a closure, a global, a hook",
        )


def _sizes(model: nn.Module) -> dict[str, int]:
    """The size of everything held that can grow."""
    sizes: Counter[str] = Counter()
    for item in reachable(model):
        if isinstance(item.value, Tensor):
            sizes[item.path] += item.value.numel()
        elif hasattr(item.value, "__len__") and not isinstance(item.value, nn.Module):
            sizes[f"len({item.path or 'vars(model)'})"] += len(item.value)
    return sizes


def _has_graph(value: object) -> bool:
    return isinstance(value, Tensor) and value.grad_fn is not None


def _written_states(arguments: Arguments) -> list[Any]:
    """What shows a write: the counter of autograd, the flag, the layout."""
    return [(write_count(t), t.requires_grad, t.shape, t.stride()) for t in arguments.tensors]


def _structure(arguments: Arguments) -> str:
    named = f" and {outline(arguments.kwargs)}" if arguments.kwargs else ""
    return f"{outline(arguments.args)}{named}"


def _without_gradients(subject: Subject, arguments: Arguments) -> Any:
    with torch.no_grad():
        return subject.call(arguments)


def _memory(tensor: Tensor) -> int | None:
    """Where the memory of a tensor starts; None for one without."""
    if tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
        return None
    return tensor.untyped_storage().data_ptr()
