"""`OptimizedModel`, the callable without a backend: when it runs a straight line or the model itself, at most
8 lines and 64 traces, the comparison bit for bit, `refresh()`, `source`, `repr`.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._torch.state.random_states import preserved_random_states, seed_everything
from .._torch.tracing import pytree
from .._torch.tracing.thread_state import autocast_state
from ..modes import inference
from ..modes.with_blocks import open_blocks, refuse_in_train_mode
from .program_code import MISS
from .straight_line import Line, write_line
from .trace import trace
from .watch import Watch

_MOST_LINES = 8  # every line that rejects a call costs 1 us
_MOST_TRACES = 64  # a limit for models that change with every call
_MOST_REFUSED = 256


class OptimizedModel:
    """A model as straight lines of operations, called like the model.

    It always runs in eval mode, without gradients, and returns inference tensors. It reads the weights from
    the model, and checks in every call whether the model still matches the trace. Calls that no line accepts
    run the model itself, in `inference`, so errors are the model's own.

    Attributes:
        model: the model.
        reason: why the last call of the model did not produce a line, or "".
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.reason = ""
        self._lock = threading.Lock()
        self._lines: tuple[Line, ...] = ()
        self._calls: tuple[Callable[..., Any], ...] = ()
        self._calls_in_blocks: tuple[Callable[..., Any], ...] = ()
        self._watch = Watch(model)
        self._refused: set[Any] = set()
        self._traces = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute what the model computes in eval mode.

        Raises:
            ModeError: an open block, such as `training(model)`, keeps the model in train mode.
        """
        try:
            for call in self._calls:
                result = call(*args, **kwargs) if kwargs else call(*args)
                if result is not MISS:
                    return result
        except Exception:
            pass  # the model will say what is wrong
        return self._call_model(args, kwargs)

    def refresh(self) -> None:
        """Trace the model again at the next call, to include changes that cannot be detected."""
        with self._lock:
            self._refused, self._traces = set(), 0
            self._bind(Watch(self.model), ())

    @property
    def source(self) -> str:
        """The straight lines as Python."""
        return "\n\n\n".join(line.source for line in self._lines)

    def __repr__(self) -> str:
        count = len(self._lines)
        note = f"; the last call went to the model: {self.reason}" if self.reason else ""
        return f"OptimizedModel({type(self.model).__name__}, {count} straight line{'s'[: count != 1]}{note})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model,)  # the code is generated again, at the first call

    def _call_model(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        refuse_in_train_mode(self._watch.modules, f"optimize_for_inference({type(self.model).__name__})")
        if self._watch.changed():
            self._renew()
        args, kwargs = self._positional(args, kwargs)
        try:
            for call in self._calls_in_blocks if open_blocks else self._calls:
                result = call(*args, **kwargs)
                if result is not MISS:
                    return result
        except Exception:
            pass
        return self.learn(args, kwargs, any_size=True)

    def learn(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, any_size: bool) -> Any:
        """Call the model, trace the call, and return the model's result.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            any_size: whether the line is for as many sizes as possible, or only for these.
        """
        before = Watch(self.model)
        with inference(self.model):
            result = self.model(*args, **kwargs)
        if self._lock.acquire(blocking=False):  # otherwise another thread is tracing
            try:
                self.reason = self._learn(args, kwargs, result, before, any_size)
            finally:
                self._lock.release()
        return result

    def _positional(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the same arguments, by position if possible."""
        if not kwargs:
            return args, kwargs
        try:
            bound = inspect.signature(self.model.forward).bind(*args, **kwargs)
        except (TypeError, ValueError):  # the model will say what is wrong
            return args, kwargs
        return bound.args, bound.kwargs

    def _renew(self) -> None:
        """Update to the current model; keep the lines if only tensors were replaced or mode flags changed."""
        with self._lock:
            watch = Watch(self.model)
            if not watch.same_structure(self._watch):
                self._lines, self._refused = (), set()
            self._bind(watch, self._lines)

    def _bind(self, watch: Watch, lines: tuple[Line, ...]) -> None:
        calls = tuple(line.bind(watch) for line in lines)
        in_blocks = tuple(line.bind(watch, in_block=True) for line in lines)
        self._watch, self._lines = watch, lines
        self._calls, self._calls_in_blocks = calls, in_blocks

    def _learn(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], expected: Any, before: Watch, any_size: bool
    ) -> str:
        """Trace a call whose result is known; return why that is not possible, or ""."""
        key = _description(args, kwargs)
        if key in self._refused:
            return self.reason
        reason = self._why_not(before)
        if not reason:
            self._traces += 1
            try:
                self._add_line(args, kwargs, expected, any_size)
            except Exception as error:
                if self._watch.changed():  # by another thread
                    return "the model was changed while it was traced"
                if not isinstance(error, ValueError):
                    raise
                reason = str(error)
        if reason and len(self._refused) < _MOST_REFUSED:
            self._refused.add(key)
        return reason

    def _why_not(self, before: Watch) -> str:
        if reason := self._watch.refusal():
            return reason
        if before.changed():
            return "forward changes attributes of the model"
        if len(self._lines) >= _MOST_LINES:
            return f"there are {_MOST_LINES} straight lines already"
        if self._traces >= _MOST_TRACES:
            return f"it was traced {_MOST_TRACES} times already"
        return ""

    def _add_line(self, args: tuple[Any, ...], kwargs: dict[str, Any], expected: Any, any_size: bool) -> None:
        traced = trace(self.model, args, kwargs, any_size=any_size)
        line = write_line(traced, inspect.signature(self.model.forward), self._watch)
        call = line.bind(self._watch, in_block=True)
        if not self._agrees(call, args, kwargs, expected):
            raise ValueError("the graph that torch.export traced gives other results than the model")
        self._bind(self._watch, (*self._lines, line))

    def _agrees(self, call: Callable[..., Any], args: Any, kwargs: Any, expected: Any) -> bool:
        with preserved_random_states(self.model):
            if agree(call(*args, **kwargs), expected, _equal):
                return True
            seed_everything(0)  # the model may be random in eval mode
            found = call(*args, **kwargs)
            seed_everything(0)
            with inference(self.model):
                return agree(found, self.model(*args, **kwargs), _equal)


def _description(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the properties of arguments that a line depends on, in comparable form."""
    leaves, structure = pytree.tree_flatten((args, kwargs))
    kinds: list[Any] = [
        (type(leaf), leaf.shape, leaf.dtype, leaf.device, leaf.layout)
        if isinstance(leaf, Tensor)
        else (type(leaf), repr(leaf))
        for leaf in leaves
    ]
    return str(structure), tuple(kinds), autocast_state()


def agree(found: Any, expected: Any, same: Callable[[Any, Any], bool]) -> bool:
    """Return whether two outputs have one structure, and each value in them is the same as the other's."""
    ours, our_structure = pytree.tree_flatten(found)
    theirs, structure = pytree.tree_flatten(expected)
    return our_structure == structure and all(map(same, ours, theirs))


def _equal(first: Any, second: Any) -> bool:
    """Return whether two values are the same to the bit; a NaN equals a NaN."""
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return type(first) is type(second) and bool(first == second)
    kind, other = ((type(one), one.shape, one.dtype, one.device) for one in (first, second))
    if kind != other:
        return False
    return bool(torch.equal(first, second) or ((first == second) | (first.isnan() & second.isnan())).all())
