"""Write the text of a contract error: where, what, `expected` above `got`, the source line, what bound each
axis, a remedy; and whether it is a ShapeError, DtypeError or ContractError.
"""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import AnnotationError
from torch import nn

from ..._torch.modules.module_calls import outermost_called
from ...errors import ContractError, DtypeError, ShapeError
from ..annotations.axes import Axis, AxisKind
from ..annotations.specs import ArraySpec, Site, Spec
from ..file_names import file_name
from .descriptions import description, dtype_name, expectation
from .remedies import module_fact, suggest_remedy
from .validate import Bindings, Mismatch, known_size

_FAMILIES = {
    "Float": "a floating dtype",
    "Int": "a signed integer dtype",
    "UInt": "an unsigned integer dtype",
    "Integer": "an integer dtype",
    "Complex": "a complex dtype",
    "Inexact": "a floating or complex dtype",
    "Real": "a real dtype",
    "Num": "a numeric dtype",
    "Bool": "bool",
}
# Names that wrappers put in front of module paths: torch.compile, DistributedDataParallel, torch.export.
_WRAPPERS = ("_orig_mod", "module", "_export_root")


@dataclass(frozen=True)
class Place:
    """Where the checked function is defined, and what binds its axes."""

    name: str  # such as `TinyVisionMLP.forward` or `attend`
    filename: str
    origins: dict[str, str]  # axis -> the argument or line that binds it first


def contract_error(mismatch: Mismatch, site: Site, place: Place, bindings: Bindings) -> ContractError:
    """Build the error for a mismatch; `bindings` are the axis sizes from before the value was checked."""
    path = module_path(bindings.owner)
    variable = site.name + mismatch.path
    where = _where(site, place, bindings.owner, path, mismatch.path)
    lines = [where + _what(mismatch, site, variable, bindings)]
    expected, got = expectation(mismatch.spec), description(mismatch.value)
    if isinstance(mismatch.spec, ArraySpec) and mismatch.problem != "type":
        lines += _table(mismatch.spec, mismatch, bindings)
    if site.kind == "local" or site.kind == "return":
        lines += _source_line(place.filename, site.line)
    lines += [f"  {line}" for line in _provenance(mismatch.spec, site, place, bindings)]
    name = f"the output{mismatch.path}" if site.kind in ("return", "yield") else variable
    remedy = suggest_remedy(mismatch, name, bindings)
    if not remedy and site.kind in ("local", "return") and mismatch.axis is not None:
        remedy = module_fact(bindings.owner, _attributes(place, site), mismatch, _axis_text(mismatch))
    lines += [f"  {line}" for line in remedy]
    kind = {"rank": ShapeError, "size": ShapeError, "dtype": DtypeError}.get(mismatch.problem, ContractError)
    return kind(
        "\n".join(lines),
        where=variable,
        axis=mismatch.axis,
        expected=expected,
        got=got,
        bindings=_named_sizes(mismatch.spec, bindings),
        module_path=path,
    )


def _where(site: Site, place: Place, owner: Any, path: str, inside: str) -> str:
    title = place.name
    if isinstance(owner, nn.Module):
        method = place.name.rsplit(".", 1)[-1]
        title = type(owner).__name__ + ("" if method == "forward" else f".{method}")
    at = f" at {path}" if path else ""
    match site.kind:
        case "argument":
            return f"{title}({site.name}){inside}{at}: "
        case "local":
            return f"{title}{at}, {file_name(place.filename)}:{site.line}: {site.name}{inside} "
        case "attribute":
            return f"{title}.{site.name}{inside}{at}: "
        case _:
            return f"{title}{at} {site.kind}ed{inside} "


def _what(mismatch: Mismatch, site: Site, variable: str, bindings: Bindings) -> str:
    spec, value = mismatch.spec, mismatch.value
    inline = site.kind not in ("argument", "attribute")  # the sentence began with the name of the variable
    has = "has " if site.kind == "local" else ""
    if not isinstance(spec, ArraySpec) or mismatch.problem == "type":
        text = f"{description(value)}, expected {expectation(spec)}"
        return f"{'is ' if site.kind == 'local' else '' if inline else 'got '}{text}"
    if mismatch.problem == "rank":
        least = "at least " if spec.axes.many_index is not None else ""
        wanted = len(spec.axes.axes) - (1 if least else 0)
        count = len(value.shape)
        return f"{has}{count} {'axis' if count == 1 else 'axes'}, expected {least}{wanted}"
    if mismatch.problem == "dtype":
        family = spec.family.__name__
        return f"{has}{dtype_name(value)}, expected {_FAMILIES.get(family, family.lower())}"
    if mismatch.axis is None:
        return f"{has}{mismatch.reason}"
    size, wanted = value.shape[mismatch.axis], mismatch.wanted[mismatch.axis]
    name = _axis_text(mismatch)
    asked = f"{name} = {wanted}" if name and not name.isdigit() else f"{wanted}"
    asked = name if _is_symbolic(wanted) and name else asked
    if name.startswith("*"):
        asked = f"{wanted}, since {name} is {_size_text(bindings.get(name.replace('#', '')))}"
    return f"{has}axis {mismatch.axis} {'=' if inline else 'is'} {size}, expected {asked}"


def _axis_text(mismatch: Mismatch) -> str:
    """Return the token of the annotation for the axis that does not match."""
    assert isinstance(mismatch.spec, ArraySpec)
    assert mismatch.axis is not None
    axes, many = mismatch.spec.axes.axes, mismatch.spec.axes.many_index
    if many is None or mismatch.axis < many:
        return axes[mismatch.axis].text
    after = len(mismatch.value.shape) - mismatch.axis
    return axes[-after].text if after < len(axes) - many else axes[many].text


def _table(spec: ArraySpec, mismatch: Mismatch, bindings: Bindings) -> list[str]:
    """Align the expected shape with the actual one, axis by axis."""
    tokens, sizes = spec.axes.text.split(), [str(size) for size in mismatch.value.shape]
    if spec.axes.many_index is None and tokens and sizes:
        count = max(len(tokens), len(sizes))
        above, below = _pad(tokens, count), _pad(sizes, count)  # aligned at the last axis
        widths = [max(len(a), len(b)) for a, b in zip(above, below, strict=True)]
        tokens = [token.ljust(width) for token, width in zip(above, widths, strict=True)]
        sizes = [size.ljust(width) for size, width in zip(below, widths, strict=True)]
    expected, got = spec.family.__name__.lower(), dtype_name(mismatch.value)
    width = max(len(expected), len(got))
    known = [_known_text(axis, bindings) for axis in spec.axes.axes]
    resolved = f" = [{' '.join(known)}]" if known != spec.axes.text.split() else ""
    return [
        f"  expected {expected:<{width}} [{' '.join(tokens).rstrip()}]{resolved}",
        f"  got      {got:<{width}} [{' '.join(sizes).rstrip()}]",
    ]


def _known_text(axis: Axis, bindings: Bindings) -> str:
    """Return the size of an axis if it was known before this value was checked, else the axis as written."""
    try:
        size = bindings.get(axis.key) if axis.kind is AxisKind.MANY else known_size(axis, bindings)
    except AnnotationError:
        size = None
    return axis.text if size is None or _is_symbolic(size) else _size_text(size).strip("[]")


def _pad(row: list[str], count: int) -> list[str]:
    return [""] * (count - len(row)) + row


def _source_line(filename: str, line: int) -> list[str]:
    text = linecache.getline(filename, line).strip()
    if not text:
        return []
    return [f"  > {line}  {text if len(text) <= 100 else text[:97] + '...'}"]


def _attributes(place: Place, site: Site) -> list[str]:
    """Return the attributes of `self` that the source lines of a site read."""
    lines = [linecache.getline(place.filename, line) for line in range(site.line, site.end_line + 1)]
    return re.findall(r"\bself\.(\w+)", "".join(lines))


def _provenance(spec: Spec, site: Site, place: Place, bindings: Bindings) -> list[str]:
    """Return lines with the size of each bound axis, and what bound it."""
    if not isinstance(spec, ArraySpec):
        return []
    sources: dict[str, list[str]] = {}
    for name, size in _named_sizes(spec, bindings).items():
        if name in bindings.module_axes:
            owner = cast(Any, type(bindings.owner))
            parameters = inspect.signature(owner.__init__).parameters
            source = f"{owner.__name__}({name}={size})" if name in parameters else f"self.{name}"
        else:
            source = place.origins.get(name, "")
        if source != site.name and not _is_symbolic(size):
            sources.setdefault(source, []).append(f"{name}={_size_text(size)}")
    facts: list[str] = []
    for source, sizes in sources.items():
        verb = "comes" if len(sizes) == 1 else "come"
        facts.append(" and ".join(sizes) + (f" {verb} from {source}" if source else ""))
    return ["; ".join(facts)] if facts else []


def _is_symbolic(size: Any) -> bool:
    """Return whether a size is symbolic: its name (`s77`) means nothing to a reader."""
    return isinstance(size, torch.SymInt) and not str(size).isdigit()


def _size_text(size: Any) -> str:
    if not isinstance(size, tuple):
        return str(size)
    if size and size[0] is True:  # bound by `*#name`: see validate.py
        return _size_text(cast(Any, size)[1])
    return f"[{' '.join(map(str, cast('tuple[Any, ...]', size)))}]"


def _named_sizes(spec: Spec, bindings: Bindings) -> dict[str, Any]:
    if not isinstance(spec, ArraySpec):
        return {name: size for name, size in bindings.sizes.items() if size is not None}
    found: dict[str, Any] = {}
    for axis in spec.axes.axes:
        for name in [axis.key] if axis.is_named else sorted(axis.reads):
            size = bindings.get(name)
            if size is not None:
                found[name] = size
    return found


def module_path(owner: Any) -> str:
    """Return the path of a module below the outermost module that is being called, or `""`."""
    if not isinstance(owner, nn.Module):
        return ""
    named: Iterator[tuple[str, nn.Module]] = cast(Any, outermost_called(owner)).named_modules()
    for path, module in named:
        if module is owner:
            return ".".join(part for part in path.split(".") if part not in _WRAPPERS)
    return ""
