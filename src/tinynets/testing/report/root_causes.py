"""Which failed check explains which others, the deepest cause first: the table `ROOTS`; `runner.py` skips the
others and names their cause.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

_COMPARES_CALLS = (
    "batch.*",
    "layout.*",
    "modes.deterministic",
    "modes.roundtrip",
    "modes.seeded",
    "purity.*",
    "state.*",
    "transforms.*",
)
"""Checks that compare the outputs of two calls, which is meaningless for stateful or random models."""

ROOTS: dict[str, tuple[str, ...]] = {
    "state.registered": (
        "device.*",
        "dtype.*",
        "gradients.reach",
        "modes.roundtrip",
        "purity.live_weights",
        "state.*",
        "transforms.functional_call",
    ),
    "modes.flags": ("gradients.*", "modes.*", "purity.*", "transforms.*"),
    "purity.inputs": (*_COMPARES_CALLS, "dtype.*", "gradients.*"),
    "purity.parameters": (*_COMPARES_CALLS, "device.*", "dtype.*"),
    "modes.deterministic": _COMPARES_CALLS,
    "purity.history": _COMPARES_CALLS,
    "modes.roundtrip": _COMPARES_CALLS,
    "purity.attributes": ("purity.*", "transforms.*"),
    "batch.neighbour": (
        "batch.gradient",
        "batch.nan",
        "batch.permute",
        "batch.subset",
        "batch.training",
        "transforms.per_sample_grads",
    ),
    "gradients.reach": ("batch.gradient", "gradients.*"),
    "dtype.float64": ("dtype.autocast", "dtype.bfloat16", "dtype.default"),
    "device.move": ("device.meta_shapes",),
    "state.deepcopy": ("purity.live_weights", "transforms.functional_call"),
    "state.roundtrip": ("state.safetensors",),
}
"""The checks that find root causes, the deepest first, with patterns of the checks that fail as a result."""


def roots_of(id: str) -> list[str]:
    """Return the checks that may explain a failure of a check, the deepest first.

    A root cause is explained only by those before it, so no two checks explain each other.
    """
    order = list(ROOTS)
    before = order[: order.index(id)] if id in ROOTS else order
    return [root for root in before if any(fnmatchcase(id, pattern) for pattern in ROOTS[root])]


def depth(id: str) -> int:
    """Return the rank of a check among the causes, to sort by: the deepest is 0."""
    order = list(ROOTS)
    return order.index(id) if id in ROOTS else len(order)
