from __future__ import annotations

import gc
import weakref
from collections import Counter

import torch
from torch import Tensor, nn

from ...._torch.modules.module_tables import computed_by_a_hook, named_modules
from ...._torch.state.foreign import has_attribute
from ...._torch.state.model_walk import reachable
from ... import Failure, Level, Subject, check
from ...call_helpers import listed
from ...measure.compare import leaves

_CALLS = 3  # a container that grows twice in a row will keep growing


@check("purity.retention", Level.MUST)
def retention(subject: Subject) -> None:
    """After a call, nothing keeps its arguments, output or graph alive, and no container has grown.

    Why: memory that grows with every step ends in an out-of-memory error hours later.
    Fix: log `x.detach()` or `x.item()`; limit the size of caches; do not register hooks in `forward`.
    Declare: `stateful=True` allows tensors and containers of the model to grow.
    """
    model = subject.model
    model.train()
    graphs = {item.path for item in reachable(model) if _has_graph(item.value)}
    # The old weight and spectral norms keep the small graph of the weight until the next call.
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
    gc.collect()  # only here: it costs more than calling most models
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
    """Return the size of everything in the model that can grow."""
    sizes: Counter[str] = Counter()
    for item in reachable(model):
        if isinstance(item.value, Tensor):
            sizes[item.path] += item.value.numel()
        elif has_attribute(item.value, "__len__") and not isinstance(item.value, nn.Module):
            sizes[f"len({item.path or 'vars(model)'})"] += len(item.value)
    return sizes


def _has_graph(value: object) -> bool:
    return isinstance(value, Tensor) and value.grad_fn is not None
