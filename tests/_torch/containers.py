"""Every place in which a model can hold a module or a tensor without registering it."""

from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any

Pair = namedtuple("Pair", "first second")


@dataclass
class Data:
    inner: Any


@dataclass(slots=True)
class SlottedData:
    inner: Any


class Slots:
    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class ListWithAttributes(list):
    pass


class Method:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def call(self, x: Any) -> Any:
        return self.inner(x)


def closure(inner: Any) -> Callable[[Any], Any]:
    return lambda x: inner(x)


def closure_of_a_closure(inner: Any) -> Callable[[Any], Any]:
    def outer(x: Any) -> Any:
        return [inner(y) for y in (x,)][0]  # noqa: RUF015

    return lambda x: outer(x)


def default(inner: Any) -> Callable[[Any], Any]:
    return lambda x, inner=inner: inner(x)


def keyword_default(inner: Any) -> Callable[[Any], Any]:
    def call(x: Any, *, inner: Any = inner) -> Any:
        return inner(x)

    return call


def function_attribute(inner: Any) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        return call.inner(x)

    call.inner = inner
    return call


def list_attribute(inner: Any) -> Any:
    made = ListWithAttributes()
    made.inner = inner
    return made


def linked(inner: Any) -> Any:
    node = Data(inner)
    node.back = node
    return node


# What makes it, and how forward gets the inner module out again.
CONTAINERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "list": (lambda m: [m], lambda c: c[0]),
    "tuple": (lambda m: (1, m), lambda c: c[1]),
    "named tuple": (lambda m: Pair(0, m), lambda c: c.second),
    "dict": (lambda m: {"a": m}, lambda c: c["a"]),
    "dict with odd keys": (lambda m: {(1, "a"): m}, lambda c: c[1, "a"]),
    "key of a dict": (lambda m: {m: 1}, lambda c: next(iter(c))),
    "ordered dict": (lambda m: OrderedDict(a=m), lambda c: c["a"]),
    "default dict": (lambda m: defaultdict(list, a=[m]), lambda c: c["a"][0]),
    "user dict": (lambda m: UserDict(a=m), lambda c: c["a"]),
    "set": (lambda m: {m}, lambda c: next(iter(c))),
    "frozenset": (lambda m: frozenset([m]), lambda c: next(iter(c))),
    "deque": (lambda m: deque([m]), lambda c: c[0]),
    "dataclass": (Data, lambda c: c.inner),
    "slotted dataclass": (SlottedData, lambda c: c.inner),
    "simple namespace": (lambda m: SimpleNamespace(inner=m), lambda c: c.inner),
    "slots": (Slots, lambda c: c.inner),
    "list with attributes": (list_attribute, lambda c: c.inner),
    "object that holds itself": (linked, lambda c: c.inner),
    "partial of it": (lambda m: partial(m), lambda c: c),
    "argument of a partial": (lambda m: partial(lambda m, x: m(x), m), lambda c: c),
    "keyword of a partial": (lambda m: partial(lambda x, m: m(x), m=m), lambda c: c),
    "its own method": (lambda m: m.__call__, lambda c: c),
    "method of an object": (lambda m: Method(m).call, lambda c: c),
    "closure": (closure, lambda c: c),
    "closure of a closure": (closure_of_a_closure, lambda c: c),
    "default of a function": (default, lambda c: c),
    "keyword default": (keyword_default, lambda c: c),
    "attribute of a function": (function_attribute, lambda c: c),
    "three deep": (lambda m: {"a": ([deque([m])],)}, lambda c: c["a"][0][0][0]),
}

# What is not a model's state, or not the library's to walk.
NOT_SEARCHED: dict[str, Callable[[Any], Any]] = {
    "a view of a dict": lambda m: MappingProxyType({"a": m}),
    "a list of 10,001 items": lambda m: [*[0] * 10_000, m],
    "nine deep": lambda m: [[[[[[[[[m]]]]]]]]],
}
