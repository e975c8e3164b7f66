"""Which sizes the passes of a proof cover so far, which uncovered size is traced next (as close to the
example as possible), and whether every size from 2 on is covered.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .conditions import SMALLEST, Condition, needed, until
from .size_arithmetic import LONGEST

_MOST_POINTS = 20_000
# Sizes to try besides those where a condition changes, for conditions on several axes.
_OTHERS = (2, 3, 5, 8, 31, 33, 48, 64)


@dataclass
class Region:
    """The sizes for which a model goes one way: those that satisfy the conditions of one pass."""

    conditions: list[Condition]  # all of them hold; without any, it is all sizes
    holds: bool  # whether the pass ended well, every annotated line as declared

    def covers(self, sizes: Mapping[str, int]) -> bool:
        """Return whether these sizes are in the region."""
        return all(condition.holds(sizes) for condition in self.conditions)


@dataclass
class Coverage:
    """The regions found so far."""

    example: dict[str, int]  # the sizes of the example; others near them are preferred
    regions: list[Region] = field(default_factory=list[Region])

    def add(self, expressions: list[Any], *, holds: bool) -> Region:
        """Add the region of a pass, given the conditions that arose."""
        region = Region(needed(expressions), holds)
        self.regions.append(region)
        return region

    @property
    def conditions(self) -> list[Condition]:
        """All conditions of all regions, each once."""
        return list(dict.fromkeys(c for region in self.regions for c in region.conditions))

    def sizes(self, axis: str) -> list[int]:
        """Return representative sizes of an axis: any other satisfies the same conditions as one of them."""
        own = self._on(axis)
        usual = self.example[axis]
        # Beyond the example too, so that a size close to it may represent others.
        end = max((usual + c.period + 1 for c in own), default=SMALLEST + 1)
        end = min(max(end, self.until(axis)), LONGEST)
        alike: dict[tuple[bool, ...], int] = {}
        for size in sorted({*range(SMALLEST, end), usual}, key=lambda size: (abs(size - usual), -size)):
            alike.setdefault(tuple(c.holds({axis: size}) for c in own), size)
        return list(alike.values())

    def uncovered(self) -> dict[str, int] | None:
        """Return sizes that are in no region, as close to the example as possible; None if none was found."""
        joint = any(not c.decided for c in self.conditions)
        values = {axis: [*self.sizes(axis)] for axis in self.example}
        if joint:
            for axis, sizes in values.items():
                near = (self.example[axis] + step for step in (-1, 1))
                sizes += [size for size in (*near, *_OTHERS) if size >= SMALLEST and size not in sizes]
        found = [p for p in self._points(values) if not any(r.covers(p) for r in self.regions)]

        def distance(point: dict[str, int]) -> tuple[int, int]:
            changed = [abs(size - self.example[axis]) for axis, size in point.items()]
            return sum(map(bool, changed)), sum(changed)

        return min(found, key=distance, default=None)

    @property
    def complete(self) -> bool:
        """Whether every size from 2 on is proved to be in some region."""
        joint = [c for c in self.conditions if not c.decided]
        keys = list(dict.fromkeys(c.atom for c in joint))
        values = {axis: self.sizes(axis) for axis in self.example}
        if len(keys) > 8 or math.prod(map(len, values.values())) > _MOST_POINTS:
            return False
        if any(self.until(axis) > LONGEST for axis in self.example):
            return False
        # Treats conditions on several axes as independent, which covers more cases than can occur.
        for truth in itertools.product((True, False), repeat=len(keys)):
            told = dict(zip(keys, truth, strict=True))
            for point in self._points(values):
                if not any(
                    all(c.holds(point) if c.decided else told[c.atom] == c.positive for c in r.conditions)
                    for r in self.regions
                ):
                    return False
        return True

    def _points(self, values: Mapping[str, list[int]]) -> Iterator[dict[str, int]]:
        names = list(values)
        every = itertools.product(*(values[name] for name in names))
        for point in itertools.islice(every, _MOST_POINTS):
            yield dict(zip(names, point, strict=True))

    def allowed(self, axis: str) -> list[int] | None:
        """Return the sizes of an axis for which all lines hold, up to the size where they repeat.

        None if they depend on other axes too.
        """
        good = [r for r in self.regions if r.holds]
        values = {name: self.sizes(name) for name in self.example}
        if math.prod(map(len, values.values())) > _MOST_POINTS or self.until(axis) > LONGEST:
            return None

        def holds(point: dict[str, int]) -> bool:
            return any(r.covers(point) for r in good)

        if any(not c.decided for r in good for c in r.conditions):
            return None
        some = [p for p in self._points(values) if holds(p)]
        projected = {name: {p[name] for p in some} for name in values}
        if len(some) != math.prod(map(len, projected.values())) or not some:
            return None
        return [size for size in range(SMALLEST, self.until(axis)) if holds({**some[0], axis: size})]

    def until(self, axis: str) -> int:
        """Return a size from which on the pattern of allowed sizes repeats."""
        return until(self._on(axis))

    def _on(self, axis: str) -> list[Condition]:
        """Return the comparisons of one axis with numbers."""
        leaves = dict.fromkeys(leaf for c in self.conditions for leaf in c.leaves)
        return [leaf for leaf in leaves if leaf.decided and leaf.axes == (axis,)]
