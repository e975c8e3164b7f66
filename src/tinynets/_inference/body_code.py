"""The operations of a traced graph as the Python of `fast.source`: variables, comments with module paths,
what is omitted (dropout, intermediate views), in-place calls, and graphs that are refused.

These are the operations that the model calls, in the same order, so that results are bit-identical.
Operations without effect are omitted: dropout in eval mode, checks of the trace, views that the next view
replaces.
"""

# The types of graph nodes are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import cmath
import itertools
import keyword
import operator
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from .._torch.tracing.exported_graph import module_path, size_of
from .._torch.tracing.kernels import native_conv2d
from .._torch.tracing.operators import binding, is_operator, is_random, packet_name, writes
from .accept_code import row_of
from .native_convolution import native_arguments
from .overwritable import computes, is_dropped, overwritable, writes_to_fresh

_RESHAPES = ("aten.reshape", "aten.flatten")
_SPLATTED = ("reshape", "view", "permute", "expand")  # methods that take sizes one by one, which is faster
_METHODS = (*_SPLATTED, "flatten", "contiguous", "transpose", "unbind", "to")
_INFIX = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.truediv: "/",
}
_TO_THE_END = 2**62


class BodyWriter:
    """Writes the operations of one graph."""

    def __init__(
        self,
        graph: torch.fx.Graph,
        *,
        inputs: Mapping[str, str],  # placeholder -> its variable
        sizes: Mapping[str, str],  # symbol -> its variable
        taken: frozenset[str],  # variables of the function that are not for results
        autocast: bool,  # whether torch casts arguments of some operators, so that others cannot replace them
    ) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.replaced: list[str] = []  # the weights of operators that a twin replaces
        self._inputs, self._sizes, self._exact = inputs, sizes, not autocast
        names = itertools.chain("xyz", (f"x{number}" for number in itertools.count(1)))
        self._names = (name for name in names if name not in taken)
        self._taken = set(taken)
        self._free: list[str] = []
        self._own: set[str] = set()
        self._values: dict[Any, str] = {}  # node -> its source
        self._nodes: list[Any] = list(graph.nodes)
        self._aliases = {node: node.args[0] for node in self._nodes if is_dropped(node)}
        self._joined = self._joined_views()
        self._uses = self._count_uses()
        self._path = ""

    def write(self) -> list[str]:
        """Write the lines; return the sources of the outputs.

        Raises:
            ValueError: the graph does something that a straight line cannot.
        """
        for node in self._nodes:
            if node.op == "placeholder":
                self._values[node] = self._inputs.get(node.name, "None")
            elif node.op == "output":
                return [self._source(value) for value in node.args[0]]
            elif node.op == "call_function" and node not in self._values and self._is_written(node):
                self._call(node)
        raise ValueError("its graph returns nothing")

    # Which nodes are written

    def _real(self, node: Any) -> Any:
        while node in self._aliases:
            node = self._aliases[node]
        return node

    def _inputs_of(self, node: Any) -> list[Any]:
        if node in self._joined:
            others = [one for one in node.all_input_nodes if one is not node.args[0]]
            return [self._real(one) for one in (self._joined[node], *others)]
        return [self._real(one) for one in node.all_input_nodes]

    def _is_written(self, node: Any) -> bool:
        return node not in self._aliases and (self._uses[node] > 0 or _must_run(node))

    def _joined_views(self) -> dict[Any, Any]:
        """Return the tensors that views can be made of directly, past intermediate views."""
        joined: dict[Any, Any] = {}
        for node in self._nodes:
            if _is_reshape(node) and node.target is torch.ops.aten.reshape.default:
                inner = self._real(node.args[0])
                while _is_reshape(inner) and len(inner.users) == 1:
                    joined[node] = inner = self._real(inner.args[0])
        return joined

    def _count_uses(self) -> Counter[Any]:
        uses: Counter[Any] = Counter()
        for node in reversed(self._nodes):
            if node.op == "output" or (
                node.op == "call_function" and node not in self._aliases and (uses[node] or _must_run(node))
            ):
                uses.update(set(self._inputs_of(node)))
        return uses

    # One operation

    def _call(self, node: Any) -> None:
        target, value = node.target, node.meta.get("val")
        if isinstance(value, int | torch.SymInt) and (known := self._known_size(value)) is not None:
            self._values[node] = known
            self._release(node)
        elif target is operator.getitem:
            self._assign(node, f"{self._source(node.args[0])}[{self._source(node.args[1])}]")
        elif target in _INFIX:
            left, right = map(self._source, node.args)
            self._assign(node, f"{left} {_INFIX[target]} {right}")
        elif is_operator(target):
            self._operator(node)
        elif callable(target) and target.__module__ in ("math", "torch", "_operator", "builtins"):
            name = self._constant(getattr(target, "__name__", "function"), target)
            self._assign(node, f"{name}({self._arguments(node.args, node.kwargs)})")
        else:
            raise ValueError(f"it contains {target}, which is a graph in a graph")

    def _operator(self, node: Any) -> None:
        target, name = node.target, packet_name(node.target)
        if writes(target) and not writes_to_fresh(node):
            raise ValueError(f"it writes to an argument, or to a tensor of the model, by {name}")
        self._comment(module_path(node))
        if name == "aten.sym_size":
            self._assign(node, f"{self._source(node.args[0])}.shape[{node.args[1]}]")
        elif name == "aten.slice" and (source := self._slice(node)) is not None:
            self._assign(node, source)
        elif self._exact and (native := native_arguments(node)) is not None:
            self.replaced.append(self._source(native[1]))
            name = self._constant("thnn_conv2d", native_conv2d)
            self._assign(node, f"{name}({self._arguments(native, {})})")
        elif self._exact and (place := overwritable(node, self._real, self._uses)) is not None:
            function, args = binding(target, in_place=True), list(node.args)
            args.insert(0, args.pop(place))
            self._assign(node, f"{self._constant(*function)}({self._arguments(args, node.kwargs)})")
        else:
            self._assign(node, self._plain_call(node))

    def _plain_call(self, node: Any) -> str:
        name, function = binding(node.target)
        args = [self._joined.get(node, node.args[0]), *node.args[1:]] if node.args else []
        if name in _METHODS and args:
            rest = args[1:]
            if name in _SPLATTED and len(rest) == 1 and isinstance(rest[0], list | tuple) and rest[0]:
                rest = list(rest[0])
            return f"{self._source(args[0])}.{name}({self._arguments(rest, node.kwargs)})"
        return f"{self._constant(name, function)}({self._arguments(args, node.kwargs)})"

    def _slice(self, node: Any) -> str | None:
        tensor, axis, start, end, step = [*node.args, *(0, None, None, 1)[len(node.args) - 1 :]]
        if not isinstance(axis, int) or axis < 0 or not isinstance(step, int):
            return None
        first = "" if start in (None, 0) else self._source(start)
        last = "" if end is None or (isinstance(end, int) and end >= _TO_THE_END) else self._source(end)
        index = f"{first}:{last}" + (f":{step}" if step != 1 else "")
        return f"{self._source(tensor)}[{':, ' * axis}{index}]"

    # Variables

    def _assign(self, node: Any, source: str) -> None:
        parts = node.meta.get("val")
        users = [user for user in node.users if self._is_written(user)]
        unpacked = (
            isinstance(parts, list | tuple) and users and all(u.target is operator.getitem for u in users)
        )
        self._release(node)
        if not self._uses[node]:
            self.lines.append(source)
            return
        if unpacked:
            items = {user.args[1]: user for user in users}
            if len(items) == len(users):
                for index in sorted(items):
                    self._values[items[index]] = self._new_name()
                names = [self._values[items[i]] if i in items else "_" for i in range(len(parts))]
                self.lines.append(f"{', '.join(names)}{',' if len(names) == 1 else ''} = {source}")
                return
        self._values[node] = self._new_name()
        self.lines.append(f"{self._values[node]} = {source}")

    def _new_name(self) -> str:
        if self._free:
            self._free.sort(key=lambda name: (len(name), name))
            return self._free.pop(0)
        name = next(self._names)
        self._own.add(name)
        return name

    def _release(self, node: Any) -> None:
        """Mark a node as written, and free the variables of inputs that no other node reads."""
        for one in set(self._inputs_of(node)):
            self._uses[one] -= 1
            name = self._values.get(one, "")
            if not self._uses[one] and one.op != "placeholder" and name in self._own:
                self._free.append(name)

    # Sources of values

    def _source(self, value: Any) -> str:
        if isinstance(value, torch.fx.Node):
            return self._values[self._real(value)]
        if isinstance(value, list | tuple):
            return row_of([self._source(item) for item in value])
        if isinstance(value, slice):
            return f"slice{self._source([value.start, value.stop, value.step])}"
        if value is None or isinstance(value, bool | int | str):
            return repr(value)
        if isinstance(value, float | complex):
            return repr(value) if cmath.isfinite(value) else self._constant(f"number_{value}", value)
        if isinstance(value, torch.dtype | torch.device | torch.layout | torch.memory_format):
            return self._constant(str(value).removeprefix("torch."), value)
        raise ValueError(f"its graph contains a {type(value).__name__}")

    def _arguments(self, args: Any, kwargs: Mapping[str, Any]) -> str:
        named = [f"{name}={self._source(value)}" for name, value in kwargs.items()]
        return ", ".join([*map(self._source, args), *named])

    def _known_size(self, value: Any) -> str | None:
        size = size_of(value)
        return repr(size) if isinstance(size, int) else self._sizes.get(size)

    def _constant(self, name: str, value: Any) -> str:
        name = re.sub(r"\W", "_", name)
        while name in self._taken or keyword.iskeyword(name) or self.constants.get(name, value) is not value:
            name += "_"
        self.constants[name] = value
        return name

    def _comment(self, path: str) -> None:
        if path != self._path:
            self._path = path
            self.lines.append(f"# {path or 'the model itself'}")


def _is_reshape(node: Any) -> bool:
    return node.op == "call_function" and is_operator(node.target) and packet_name(node.target) in _RESHAPES


def _must_run(node: Any) -> bool:
    """Return whether an operation does more than return a value."""
    if not is_operator(node.target):
        return False
    return computes(node) and (
        bool(writes(node.target)) or is_random(node.target) or not node.target._schema.returns
    )
