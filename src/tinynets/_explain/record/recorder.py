"""Follow a forward pass line by line, without changing it: Python's trace function and torch's modes."""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from .events import Call, RawOp, Visit, is_tensor, raw, raw_tensors, storage_of, tensors_in
from .mode_facts import autocast_of, mode_facts
from .modules import functions_of, is_container, is_leaf, item_code, look_up, summary
from .op_counter import Calls, Tally, num_bytes
from .sources import Source, Statement, named_tensors, source_of

_MOST_VISITS = 200_000  # lines run; more than that is a loop over values, not the shape of a network


@dataclass
class _Active:
    """One function of the model that is running now."""

    frame: FrameType
    call: Call
    source: Source | None
    container: bool
    visit: Visit | None = None
    raised: BaseException | None = None  # what is passing through, or was until a handler took it
    suspect: Visit | None = None  # the line that it came out of


class Recorder:
    """Records one forward pass of a model.

    Args:
        model: the private copy that will run.
        unroll: whether it may take a symbolic axis apart.
    """

    def __init__(self, model: nn.Module, *, unroll: bool = True) -> None:
        self.model = model
        self.paths: dict[int, str] = {id(module): name for name, module in _named(model)}
        self.parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self.used: set[int] = set()
        self.root: Call | None = None
        self._codes = {code for module in model.modules() for code in functions_of(type(module), module)}
        self._sources: dict[CodeType, Source | None] = {}
        self._active: list[_Active] = []
        self._tally = Tally(self._running, unroll=unroll)
        self._tally.know([*model.parameters(), *model.buffers()])
        self._tally.warn = self._warn
        self._kept: set[Any] = set(self._tally.births)
        self._visits = 0
        self._devices = sorted({t.device.type for t in [*model.parameters(), *model.buffers()]} or {"cpu"})
        self.autocast = autocast_of(self._devices)

    def run(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call the model and record what happens; whatever it raises passes through."""
        self._tally.know(tensor for _, tensor in tensors_in((arguments, named)))
        hooks = torch.autograd.graph.saved_tensors_hooks(self._save, lambda tensor: tensor)
        previous = sys.gettrace()
        with self._tally, Calls(self._called), hooks:
            sys.settrace(self._enter)
            try:
                return self.model(*arguments, **named)
            finally:
                sys.settrace(previous)

    def _running(self) -> Iterator[Visit]:
        return (active.visit for active in self._active if active.visit is not None)

    # Frames

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code not in self._codes or event != "call" or not code.co_varnames:
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
        call = Call(path, owner, code.co_name, code.co_filename, code.co_firstlineno, source, code=code)
        for name in named_tensors(code):
            call.arguments += [
                raw(name + label, tensor) for label, tensor in tensors_in(frame.f_locals.get(name))
            ]
        if parent is not None and parent.container:
            parent.visit = Visit(
                None, item_code(path, owner), operands=[(a.label, a) for a in call.arguments]
            )
            self._note_autocast(parent.visit)
            parent.call.visits.append(parent.visit)
        if parent is not None and parent.visit is not None and (source is not None or container):
            parent.visit.calls.append(call)
        if self.root is None:
            self.root = call
        active = _Active(frame, call, source, container)
        if parent is None and source is None and not container:  # one layer on its own is one line
            active.visit = Visit(None, summary(owner))
            call.visits.append(active.visit)
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
            return  # a handler, perhaps the contract's own, raises it again
        active.raised, active.suspect = error, active.visit
        if active.visit is not None and active.visit.statement is not None:
            active.visit.operands = self._operands(active.visit.statement, active)

    def _finish(self, active: _Active, returned: Any) -> None:
        frame = active.frame
        # Python reports a frame that ends by an error as one that returns None: the instruction tells.
        if dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("RETURN", "YIELD")):
            self._close(active, returned=returned)
            active.raised = None
            return
        suspect = active.suspect or active.visit
        active.visit = None
        visits = active.call.visits
        if suspect is not None:
            suspect.failed = True
            place = next((index for index, visit in enumerate(visits) if visit is suspect), len(visits))
            del visits[place + 1 :]  # what a handler did before it raised again

    def _line(self, active: _Active) -> None:
        statement = active.source.statements.get(active.frame.f_lineno) if active.source else None
        if statement is None or (active.visit is not None and active.visit.statement is statement):
            return
        self._close(active)
        if self._visits < _MOST_VISITS:
            self._visits += 1
            active.visit = Visit(statement, statement.code)
            active.call.visits.append(active.visit)
            self._note_autocast(active.visit)

    def _leave(self, active: _Active, value: Any) -> None:
        """Tell the line that made the call what came back."""
        parent = self._active[-1] if self._active else None
        if parent is None or parent.visit is None:
            return
        call = active.call
        kind = type(call.owner).__name__
        own = call.path == parent.call.path
        name = call.function if own else kind
        parent.visit.ops.append(RawOp(name, "" if own else call.path, raw_tensors(value)))
        if parent.container:
            parent.visit.values = self._values(parent.visit, value)
            parent.visit.failed = active.raised is not None
            if active.raised is None:
                parent.visit.operands = []
            parent.visit = None

    # Lines

    def _close(self, active: _Active, returned: Any = None) -> None:
        visit, active.visit = active.visit, None
        if visit is None:
            return
        if visit.statement is None:
            visit.values = self._values(visit, returned)
            return
        if visit.statement.kind == "return":
            visit.values = self._values(visit, returned)
        elif visit.statement.kind == "assign":
            local = active.frame.f_locals
            for name in visit.statement.names:
                prefix = name if len(visit.statement.names) > 1 else ""
                visit.values += self._values(visit, look_up(name, local), prefix)
        elif visit.statement.kind == "statement" and visit.ops:
            visit.values = visit.ops[-1].results

    def _values(self, visit: Visit, value: Any, prefix: str = "") -> list[Any]:
        found = raw_tensors(value)
        for facts, (_, tensor) in zip(found, tensors_in(value), strict=False):
            facts.label = prefix + facts.label
            facts.memory = self._memory(visit, tensor)
        return found

    def _memory(self, visit: Visit, tensor: torch.Tensor) -> str:
        storage = storage_of(tensor)
        if storage is None or storage in visit.born:
            return "new"
        if visit.mutated:
            return "in place"
        return "view" if visit.ops else "same"

    def _operands(self, statement: Statement, active: _Active) -> list[tuple[str, Any]]:
        local = active.frame.f_locals
        found: dict[str, Any] = {}
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                name = ast.unparse(node)
                value = look_up(name, local)
                if isinstance(value, nn.Module) and name != "self":
                    found[name] = summary(value)
                for label, tensor in tensors_in(value) if is_tensor(value) else ():
                    found[name + label] = raw(name + label, tensor)
        return list(found.items())

    def _source(self, code: CodeType) -> Source | None:
        if code not in self._sources:
            self._sources[code] = source_of(code)
        return self._sources[code]

    # Operations

    def _called(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        if not self._active:
            return
        active = self._active[-1]
        visits = list(self._running())
        for leaf in pytree.tree_leaves((args, kwargs)):
            if id(leaf) in self.parameters:
                self.used.add(id(leaf))
                for visit in visits:
                    visit.parameters.add(id(leaf))
        leaf = type(active.call.owner).__name__ if is_leaf(active.call.owner) else ""
        facts, warnings = mode_facts(name, args, kwargs, training=active.call.owner.training, leaf=leaf)
        for visit in visits:
            visit.facts.update(facts)
        for warning in warnings:
            self._warn(warning)
        visit = active.visit
        if visit is None or not any(map(is_tensor, pytree.tree_leaves(result))):
            return
        callee = _callee(active.frame)
        if callee is None:
            visit.ops.append(RawOp(name.strip("_"), "", raw_tensors(result)))
        elif visit.ops and visit.ops[-1].callee is callee:
            visit.ops[-1].results = raw_tensors(result)
        else:
            visit.ops.append(RawOp(callee.f_code.co_name, "", raw_tensors(result), callee))

    def _note_autocast(self, visit: Visit) -> None:
        visit.autocast = autocast_of(self._devices)
        if (
            visit.autocast != self.autocast
            and visit.statement is not None
            and visit.statement.kind != "control"
        ):
            for running in self._running():
                running.facts.setdefault(f"autocast {visit.autocast or 'off'}", 1)

    def _warn(self, warning: str) -> None:
        for visit in self._running():
            visit.warnings[warning] = None

    def _save(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = storage_of(tensor)
        if storage is not None and storage not in self._kept:
            self._kept.add(storage)
            size = num_bytes(tensor)
            for visit in self._running():
                visit.saved.update(size)
        return tensor


def _named(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield from model.named_modules()  # pyright: ignore[reportUnknownMemberType]


def _callee(frame: FrameType) -> FrameType | None:
    """The frame of the library function that a line of the model called, if torch is called from there."""
    found: FrameType | None = None
    current: FrameType | None = sys._getframe(3)  # pyright: ignore[reportPrivateUsage]
    while current is not None and current is not frame:
        name = current.f_code.co_name
        module = str(current.f_globals.get("__name__", ""))
        if not module.startswith("torch.") and module != "torch" and not name.startswith("<"):
            found = current
        current = current.f_back
    return found if current is frame else None
