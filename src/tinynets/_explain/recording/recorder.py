"""Record a forward pass with Python's trace function: which lines and calls are followed, the parameters that
they use, `view`, `in place` or new memory, bytes saved for backward; at most 200,000 lines.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any

import torch
from torch import nn

from ..._torch.tracing.pytree import tree_leaves
from .events import CallEvent, LineEvent, RawOp, is_tensor, raw, raw_tensors, storage_of, tensors_in
from .mode_facts import autocast_of, mode_facts
from .modules import (
    functions_of,
    is_container,
    is_leaf,
    item_code,
    kernel_size,
    look_up,
    operands_of,
    summary,
)
from .op_counter import FunctionObserver, OpCounter, num_bytes
from .sources import Source, named_tensors, source_of

_MOST_LINES = 200_000  # lines run; more would be a loop over values


@dataclass
class _Active:
    """A running function of the model."""

    frame: FrameType
    call: CallEvent
    source: Source | None
    container: bool
    line: LineEvent | None = None
    raised: BaseException | None = None  # propagating, or caught by a handler
    suspect: LineEvent | None = None  # the line that raised it


class Recorder:
    """Records one forward pass of a private copy of a model; `unroll` allows loops over a symbolic axis."""

    def __init__(self, model: nn.Module, *, unroll: bool = True) -> None:
        self.model = model
        self.paths: dict[int, str] = {id(module): name for name, module in _named(model)}
        self.parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self.used: set[int] = set()
        self.root: CallEvent | None = None
        # By identity, since `_enter` runs in each call of Python, and to hash code takes five times as long.
        self._codes = {id(c): c for module in model.modules() for c in functions_of(type(module), module)}
        self._source = cache(source_of)
        self._active: list[_Active] = []
        self._counter = OpCounter(self._running, self._warn, unroll=unroll)
        self._counter.mark_seen([*model.parameters(), *model.buffers()])
        self._saved: set[Any] = set(self._counter.seen)
        self._lines_run = 0
        self._devices = sorted({t.device.type for t in [*model.parameters(), *model.buffers()]} or {"cpu"})
        self.autocast = autocast_of(self._devices)

    def run(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call the model and record it; its errors propagate."""
        self._counter.mark_seen(tensor for _, tensor in tensors_in((arguments, named)))
        hooks = torch.autograd.graph.saved_tensors_hooks(self._save, lambda tensor: tensor)
        previous = sys.gettrace()
        with self._counter, FunctionObserver(self._called), hooks:
            sys.settrace(self._enter)
            try:
                return self.model(*arguments, **named)
            finally:
                sys.settrace(previous)

    def _running(self) -> Iterator[LineEvent]:
        return (active.line for active in self._active if active.line is not None)

    # Frames

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if id(code) not in self._codes or event != "call" or not code.co_varnames:
            return None
        owner: Any = frame.f_locals.get(code.co_varnames[0])
        if id(owner) not in self.paths:
            return None
        parent = self._active[-1] if self._active else None
        if parent is not None and (parent.source is None and not parent.container):
            return None  # inside one of torch's own layers
        path = self.paths[id(owner)]
        container = is_container(owner, code)
        source = None if container or is_leaf(owner) else self._source(code)
        call = CallEvent(path, owner, code.co_name, code.co_filename, code.co_firstlineno, source, code=code)
        for name in named_tensors(code):
            call.arguments += [
                raw(name + label, tensor) for label, tensor in tensors_in(frame.f_locals.get(name))
            ]
        if parent is not None and parent.container:
            parent.line = LineEvent(
                None, item_code(path, owner), operands=[(a.label, a) for a in call.arguments]
            )
            self._note_autocast(parent.line)
            parent.call.lines.append(parent.line)
        if parent is not None and parent.line is not None and (source is not None or container):
            parent.line.calls.append(call)
        if self.root is None:
            self.root = call
        active = _Active(frame, call, source, container)
        if parent is None and source is None and not container:  # a single layer is one line
            active.line = LineEvent(None, summary(owner))
            call.lines.append(active.line)
        self._active.append(active)
        if source is None:
            frame.f_trace_lines = False
        return self._event

    def _event(self, frame: FrameType, event: str, value: Any) -> Any:
        active = self._active[-1] if self._active else None
        if active is None or active.frame is not frame:
            return self._event
        if event == "line":
            self._line(active)
        elif event == "exception":
            self._raised(active, value[1])
        elif event == "return":
            self._finish(active, value)
            self._active.pop()
            self._leave(active, value)
        return self._event

    def _raised(self, active: _Active, error: BaseException) -> None:
        if active.raised is error:
            return  # a handler, perhaps the contract, raises it again
        active.raised, active.suspect = error, active.line
        if active.line is not None and active.line.statement is not None:
            active.line.operands = operands_of(active.line.statement.node, active.frame.f_locals)

    def _finish(self, active: _Active, returned: Any) -> None:
        frame = active.frame
        # Python reports a frame that raised as one that returned None: look at its last instruction.
        if dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("RETURN", "YIELD")):
            self._close(active, returned=returned)
            active.raised = None
            return
        suspect = active.suspect or active.line
        active.line = None
        lines = active.call.lines
        if suspect is not None:
            suspect.failed = True
            place = next((index for index, line in enumerate(lines) if line is suspect), len(lines))
            del lines[place + 1 :]  # lines of a handler that raised again

    def _line(self, active: _Active) -> None:
        statement = active.source.statements.get(active.frame.f_lineno) if active.source else None
        if statement is None or (active.line is not None and active.line.statement is statement):
            return
        self._close(active)
        if self._lines_run < _MOST_LINES:
            self._lines_run += 1
            active.line = LineEvent(statement, statement.code)
            active.call.lines.append(active.line)
            self._note_autocast(active.line)

    def _leave(self, active: _Active, value: Any) -> None:
        """Record the result in the line that made the call."""
        parent = self._active[-1] if self._active else None
        if parent is None or parent.line is None:
            return
        call = active.call
        kind = type(call.owner).__name__
        own = call.path == parent.call.path
        name = call.function if own else kind
        module = "" if own else call.path
        inputs = [] if own else call.arguments
        parent.line.ops.append(RawOp(name, module, raw_tensors(value), inputs, kernel_size(call.owner)))
        if parent.container:
            parent.line.values = self._values(parent.line, value)
            parent.line.failed = active.raised is not None
            if active.raised is None:
                parent.line.operands = []
            parent.line = None

    # Lines

    def _close(self, active: _Active, returned: Any = None) -> None:
        line, active.line = active.line, None
        if line is None:
            return
        if line.statement is None or line.statement.kind == "return":
            line.values = self._values(line, returned)
        elif line.statement.kind == "assign":
            local = active.frame.f_locals
            for name in line.statement.names:
                prefix = name if len(line.statement.names) > 1 else ""
                line.values += self._values(line, look_up(name, local), prefix)
        elif line.statement.kind == "statement" and line.ops:
            line.values = line.ops[-1].results

    def _values(self, line: LineEvent, value: Any, prefix: str = "") -> list[Any]:
        found = raw_tensors(value)
        for facts, (_, tensor) in zip(found, tensors_in(value), strict=False):
            facts.label = prefix + facts.label
            facts.memory = self._memory(line, tensor)
        return found

    def _memory(self, line: LineEvent, tensor: torch.Tensor) -> str:
        storage = storage_of(tensor)
        if storage is None or storage in line.born:
            return "new"
        if line.mutated:
            return "in place"
        return "view" if line.ops else "same"

    # Operations

    def _called(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        if not self._active:
            return
        active = self._active[-1]
        lines = list(self._running())
        for leaf in tree_leaves((args, kwargs)):
            if id(leaf) in self.parameters:
                self.used.add(id(leaf))
                for line in lines:
                    line.parameters.add(id(leaf))
        facts, warnings = mode_facts(name, args, kwargs, training=active.call.owner.training)
        for line in lines:
            line.facts.update(facts)
        for warning in warnings:
            self._warn(warning)
        line = active.line
        if line is None or not any(map(is_tensor, tree_leaves(result))):
            return
        callee = _callee(active.frame)
        if callee is None:
            line.ops.append(RawOp(name.strip("_"), "", raw_tensors(result)))
        elif line.ops and line.ops[-1].callee is callee:
            line.ops[-1].results = raw_tensors(result)
        else:
            line.ops.append(RawOp(callee.f_code.co_name, "", raw_tensors(result), callee=callee))

    def _note_autocast(self, line: LineEvent) -> None:
        line.autocast = autocast_of(self._devices)
        if line.autocast != self.autocast and line.statement is not None and line.statement.kind != "control":
            for running in self._running():
                running.facts.setdefault(f"autocast {line.autocast or 'off'}", 1)

    def _warn(self, warning: str) -> None:
        for line in self._running():
            line.warnings[warning] = None

    def _save(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = storage_of(tensor)
        if storage is not None and storage not in self._saved:
            self._saved.add(storage)
            size = self._counter.seen.get(storage) or num_bytes(tensor)  # a view keeps the whole storage
            for line in self._running():
                line.saved.update(size)
        return tensor


def _named(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield from model.named_modules()  # pyright: ignore[reportUnknownMemberType]


def _callee(frame: FrameType) -> FrameType | None:
    """Return the frame of the library function that a line of the model called, if that one calls torch."""
    found: FrameType | None = None
    current: FrameType | None = sys._getframe(3)  # pyright: ignore[reportPrivateUsage]
    while current is not None and current is not frame:
        name = current.f_code.co_name
        module = str(current.f_globals.get("__name__", ""))
        if not module.startswith("torch.") and module != "torch" and not name.startswith("<"):
            found = current
        current = current.f_back
    return found if current is frame else None
