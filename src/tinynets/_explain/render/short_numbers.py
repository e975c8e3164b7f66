"""Numbers short enough for a column (`201.0 k`, `2.0 KiB`, `0.8 MB`), costs per image or per sample, and the
totals that depend on other axes too (`in all MACs ...`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..records import Amount, Run

_IMAGES = ("image", "images")


def sample_axis(run: Run) -> str:
    """Return the axis to divide costs by: the batch, else the first free one, else `""`."""
    return "batch" if "batch" in run.free else next(iter(run.free), "")


def per_sample(run: Run) -> str:
    """Write the unit of the costs in a column: `per image`, or `""` for the whole call."""
    axis = sample_axis(run)
    if axis != "batch":
        return f"per {axis}" if axis else ""
    images = any(argument.label in _IMAGES for argument in run.frame.arguments)
    return "per image" if images else "per sample"


def share(amount: Amount, run: Run, unit: str = "") -> str:
    """Write the cost of one sample, at the shown sizes of the other axes; `-` for zero."""
    if amount.value is None:
        return "?"
    axis = sample_axis(run)
    count = amount.value / (run.axes[axis] if axis else 1)
    if not count:
        return "-"
    return short_bytes(count) if unit == "B" else short(count)


def short(count: float) -> str:
    """Write a number in at most seven characters: `640`, `201.0 k`."""
    return _scaled(count, 1000, ("", "k", "M", "G", "T", "P"))


def short_bytes(count: float) -> str:
    """Write bytes: `40 B`, `2.0 KiB`."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def decimal_bytes(count: int) -> str:
    """Write bytes as files are measured, in powers of 1000: `40 B`, `2.0 kB`, `0.8 MB`."""
    if count < 100:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e5 else f"{count / 1e6:,.1f} MB"


def _scaled(count: float, step: int, units: tuple[str, ...]) -> str:
    unit = 0
    while abs(round(count, 1)) >= step and unit < len(units) - 1:
        count, unit = count / step, unit + 1
    number = f"{count:.0f}" if unit == 0 and count == int(count) else f"{count:.1f}"
    return f"{number} {units[unit]}".strip()


def not_proportional(run: Run) -> Iterator[str]:
    """Yield the totals that are not proportional to the number of samples: they depend on other axes too."""
    axis = sample_axis(run)
    for name, amount in (("MACs", run.macs), ("new memory", run.allocated), ("saved", run.saved)):
        _, *factors = amount.formula.split("·")
        if axis and factors != [axis] and amount.value:
            yield f"{name} {amount.formula}"
