"""Look at the axis names of one function: what binds them, in which order, and which look misspelt."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher

from jaxtyping import AnnotationError

from .axes import AxisKind, parse_expression
from .resolve_names import user_stacklevel
from .sites import Site
from .specs import Spec, axis_tokens

_NAMED = (AxisKind.NAMED, AxisKind.MANY)


def check_axis_names(
    sites: list[Site], title: str, module_axes: frozenset[str], parameters: set[str]
) -> None:
    """Reject axes that nothing binds, and warn about names that look misspelt.

    Raises:
        AnnotationError: an axis is computed from a name that nothing binds.
    """
    uses: Counter[str] = Counter()
    for site in sites:
        uses.update(axis.key for axis in axis_tokens(site.spec) if axis.kind in _NAMED)
    for site in sites:
        for axis in axis_tokens(site.spec):
            if axis.kind is not AxisKind.EXPRESSION:
                continue
            expression = parse_expression(axis.name)
            unknown = expression.axis_names - set(uses) - module_axes
            unknown |= expression.argument_names - parameters
            if unknown:
                raise AnnotationError(
                    f"{title}, {site.name}: axis {axis.text!r} is computed from"
                    f" {sorted(unknown)[0]!r}, which is no axis of this function, no int declared in the"
                    " class body, and no argument in braces"
                )
            uses.update(expression.axis_names)
    for name, meant in misspelt_axes(uses, module_axes):
        warnings.warn(
            f"{title}: axis {name!r} is used only once, so it checks nothing; did you mean {meant!r}?",
            stacklevel=user_stacklevel(),
        )


def names_in(specs: Iterable[Spec]) -> set[str]:
    """Return the axis names that specs bind, compare or compute with."""
    found: set[str] = set()
    for axis in (axis for spec in specs for axis in axis_tokens(spec)):
        if axis.kind is AxisKind.EXPRESSION:
            found |= parse_expression(axis.name).axis_names
        elif axis.kind in _NAMED:
            found.add(axis.name)
    return found


def in_order_of_binding(arguments: dict[str, Spec], module_axes: frozenset[str]) -> dict[str, Spec]:
    """Sort arguments with computed axes after those that bind what they are computed from."""

    def reads(spec: Spec) -> set[str]:
        tokens = [axis for axis in axis_tokens(spec) if axis.kind is AxisKind.EXPRESSION]
        return set[str]().union(*(parse_expression(axis.name).axis_names for axis in tokens)) - module_axes

    def binds(spec: Spec) -> set[str]:
        return {axis.name for axis in axis_tokens(spec) if axis.kind is AxisKind.NAMED}

    ordered: dict[str, Spec] = {}
    waiting, bound = dict(arguments), set[str]()
    while waiting:
        ready = [name for name, spec in waiting.items() if reads(spec) <= bound | binds(spec)]
        name = (ready or list(waiting))[0]
        ordered[name] = waiting.pop(name)
        bound |= binds(ordered[name])
    return ordered


def axis_origins(sites: list[Site]) -> dict[str, str]:
    """Return the argument or line that binds each axis first."""
    origins: dict[str, str] = {}
    for site in sites:
        source = site.name if site.kind == "argument" else f"{site.name} in line {site.line}"
        for axis in axis_tokens(site.spec):
            if axis.kind in _NAMED:
                origins.setdefault(axis.key, source)
    return origins


def similar_name(name: str, others: set[str]) -> str | None:
    """Return the name in `others` that `name` probably misspells, or None."""
    if len(name) < 4 or name in _AXIS_WORDS:
        return None
    allowed = 2 if len(name) >= 6 else 1
    for other in sorted(others - {name}):
        if len(other) < 4 or name.rstrip("0123456789") == other.rstrip("0123456789"):
            continue  # hidden1 and hidden2 are two names
        if _count_typos(name, other) <= (allowed if len(other) >= 5 else 1):
            return other
    return None


# Real words that differ by one or two letters.
_AXIS_WORDS = frozenset(
    word
    for line in (
        "batch channels classes depth features frames groups head heads height hidden input inputs keys",
        "joints length levels output outputs patch patches points queries query rows samples source",
        "sources space steps target targets time times token tokens values weight weights width",
    )
    for word in line.split()
)


def _count_typos(a: str, b: str) -> int:
    """Count wrong, missing, extra and swapped letters."""
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return max(len(a), len(b)) - sum(block.size for block in blocks)


def misspelt_axes(uses: Counter[str], module_axes: frozenset[str]) -> list[tuple[str, str]]:
    """Return pairs of an axis name that is used once and the name that was probably meant."""
    pairs: list[tuple[str, str]] = []
    for name, count in uses.items():
        if count == 1 and name not in module_axes:
            # Of two names that are used once each, the first one counts as right.
            others = {o for o, n in uses.items() if n > 1 or list(uses).index(o) < list(uses).index(name)}
            meant = similar_name(name.lstrip("*"), {o.lstrip("*") for o in others} | module_axes)
            if meant:
                pairs.append((name, meant))
    return pairs
