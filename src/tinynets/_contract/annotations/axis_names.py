"""Check the axis names of one function: the error for an axis computed from what nothing binds, the warning
for one that looks misspelt, and which argument or line binds each axis first.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from os.path import commonprefix

from jaxtyping import AnnotationError

from .axes import AxisKind, parse_expression
from .resolve_names import user_stacklevel
from .specs import Site, Spec, axis_tokens


def check_axis_names(
    sites: list[Site], title: str, module_axes: frozenset[str], parameters: set[str]
) -> None:
    """Raise AnnotationError for an axis computed from what nothing binds; warn about likely slips."""
    uses = Counter(axis.key for site in sites for axis in axis_tokens(site.spec) if axis.is_named)
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
    for name, meant in _misspelt_axes(uses, module_axes):
        warnings.warn(
            f"{title}: axis {name!r} is used only once, so it checks nothing; did you mean {meant!r}?",
            stacklevel=user_stacklevel(),
        )


def names_in(specs: Iterable[Spec]) -> set[str]:
    """Return the axis names that specs bind, compare or compute with."""
    found: set[str] = set()
    for axis in (axis for spec in specs for axis in axis_tokens(spec)):
        found |= {axis.name} if axis.is_named else axis.reads
    return found


def in_order_of_binding(arguments: dict[str, Spec], module_axes: frozenset[str]) -> dict[str, Spec]:
    """Sort arguments with computed axes after those that bind the axes they are computed from."""

    def reads(spec: Spec) -> set[str]:
        return set[str]().union(*(axis.reads for axis in axis_tokens(spec))) - module_axes

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
            if axis.is_named:
                origins.setdefault(axis.key, source)
    return origins


def similar_name(name: str, others: set[str]) -> str | None:
    """Return the name in `others` that `name` probably misspells, or None."""
    return next((other for other in sorted(others) if _is_slip(name, other)), None)


def _is_slip(name: str, meant: str) -> bool:
    """Whether two names differ by one slip in one of their words.

    A slip is a missing or extra letter, two swapped letters, a wrong vowel, or any wrong letter in a long
    word. Names that are meant to differ usually do so in whole words, a digit, the first letter (`ldim`,
    `rdim`) or the last (`heads`, `sampled`).
    """
    pairs = list(zip_longest(name.split("_"), meant.split("_"), fillvalue=""))
    differing = [(one, other) for one, other in pairs if one != other]
    if len(differing) != 1:
        return False
    one, other = differing[0]
    same = len(commonprefix((one, other)))  # noqa: RUF071
    rest = len(commonprefix((one[same:][::-1], other[same:][::-1])))  # noqa: RUF071
    wrong, right = one[same : len(one) - rest], other[same : len(other) - rest]
    if min(len(one), len(other)) < 4 or same == 0 or not (wrong + right).isalpha():
        return False
    match len(wrong), len(right):
        case (0, 1) | (1, 0):
            return rest > 0 or wrong + right != "s"
        case 1, 1:
            return rest > 0 and (len(other) >= 7 or {wrong, right} <= set("aeiou"))
        case 2, 2:
            return wrong == right[::-1]
        case _:
            return False


def _misspelt_axes(uses: Counter[str], module_axes: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of an axis name that is used once and the name that it probably misspells."""
    for name, count in uses.items():
        if count == 1 and name not in module_axes:
            # Of two names that are used once each, the first one counts as right.
            others = {o for o, n in uses.items() if n > 1 or list(uses).index(o) < list(uses).index(name)}
            meant = similar_name(name.lstrip("*"), {o.lstrip("*") for o in others} | module_axes)
            if meant:
                yield name, meant
