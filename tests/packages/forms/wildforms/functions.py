"""Functions of every kind, with annotations that are objects."""

import asyncio
import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, no_type_check, overload

import torch
from beartype import beartype
from jaxtyping import Float, Int, jaxtyped
from torch import Tensor

if TYPE_CHECKING:
    from somewhere import Elsewhere

Images = Float[Tensor, "batch 3 height width"]
T = TypeVar("T", bound="Float[Tensor, 'n']")
registry: dict[str, Any] = {}
calls: list[str] = []


def register(function):
    registry[function.__name__] = function
    return function


@register
def add(x: Float[Tensor, "batch d"], y: Float[Tensor, "batch d"], scale: int = 1) -> Float[Tensor, "batch d"]:
    """Add two tensors."""
    return (x + y) * scale


def lines(x: Float[Tensor, "batch d"]) -> Float[Tensor, ""]:
    total: Float[Tensor, "batch"] = x.sum(1)
    total = total.sum()  # the line above is checked, not the name
    count: int = total
    return count


def false_line(x: Float[Tensor, "batch d"]) -> None:
    rows: Float[Tensor, "batch d"] = x.T
    calls.append("reached")


def alias(images: Images) -> Images:
    return images[:, :, 0] if images.shape[2] == 1 else images


def plain(scale: int, name: "str" = "x") -> float:
    return scale  # types without tensors are left alone


def defaults(
    x: Float[Tensor, "n"], scale: Float[Tensor, ""] = 1.0, out: Float[Tensor, "n"] = None
) -> Float[Tensor, "n"]:
    return x * scale


def tower(x: Float[Tensor, "n"], pair: tuple[Float[Tensor, "n"], float]) -> Float[Tensor, "n"]:
    return x * pair[1]


def broadcast(x: Float[Tensor, "#*batch n"], y: Float[Tensor, "#*batch n"]) -> Float[Tensor, "*batch n"]:
    return x + y


def variadic(*tensors: Float[Tensor, "n"], **named: Float[Tensor, "n"]) -> Float[Tensor, "k n"]:
    return torch.stack([*tensors, *named.values()])


def choice(
    x: Float[Tensor, "n"] | list[Float[Tensor, "n"]], how: Literal["sum", "mean"]
) -> Float[Tensor, "n"]:
    return x if isinstance(x, Tensor) else sum(x)


def generic(x: T, function: Callable[[Float[Tensor, "n"]], Tensor]) -> T:
    return function(x)


def for_checkers(x: Float[Tensor, "n"], other: "Elsewhere | Float[Tensor, 'n']") -> Float[Tensor, "n"]:
    return x


def unknown(x: Float[Tensor, "n"], other: "Float[Missing, 'n']") -> Float[Tensor, "n"]:
    return x


def consumed(parts: Iterator[Float[Tensor, "n"]]) -> Float[Tensor, "k n"]:
    return torch.stack(list(parts))


def leaves(tree: Float[Tensor, "?n"]) -> Float[Tensor, "m"]:
    return tree


def computed(x: Float[Tensor, "n"]) -> Float[Tensor, "n+k"]:
    return x


def items(x: Float[Tensor, "batch d"]) -> Iterator[Float[Tensor, "d"]]:
    for row in x:
        yield row if row.sum() >= 0 else row[:1]


def delegated(x: Float[Tensor, "batch d"]) -> Iterator[Float[Tensor, "d"]]:
    yield from x


async def later(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    await asyncio.sleep(0)
    return x[:2]


async def stream(x: Float[Tensor, "batch d"]) -> AsyncIterator[Float[Tensor, "d"]]:
    for row in x:
        yield row


def outer(size: int):
    def inner(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return x[:size]

    return inner


def recursive(x: Float[Tensor, "n"]) -> Float[Tensor, "m"]:
    return x if len(x) < 2 else recursive(x[1:])


@functools.lru_cache
def cached(size: int) -> Float[Tensor, "size"]:
    return torch.ones(size)


@jaxtyped(typechecker=beartype)
def by_jaxtyping(x: Float[Tensor, "n"], size: int) -> Float[Tensor, "n"]:
    calls.append(type(size).__name__)
    return x


@beartype
def by_beartype(size: int) -> int:
    return size


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is deprecated, by another class of warning each version

    @torch.jit.script
    def scripted(x: Tensor) -> Tensor:
        total: Tensor = x * 2
        return total


@torch.jit.ignore
def ignored(x: Float[Tensor, "n"]) -> Float[Tensor, "m"]:
    return x


@no_type_check
def unchecked(x: Float[Tensor, "n"]) -> Float[Tensor, "2"]:
    return x


@overload
def either(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]: ...
@overload
def either(x: int) -> int: ...
def either(x):
    return x


class Rule(Protocol):
    def __call__(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]: ...


class Abstract(ABC):
    @abstractmethod
    def area(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Say nothing, and return None."""


def ruled(x: Float[Tensor, "n"], rule: Rule | Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    return x


def typo(channels: Float[Tensor, "channels d"], y: Float[Tensor, "chanels d"]) -> Float[Tensor, "channels d"]:
    return channels + y


def sizes(x: Int[Tensor, "n"]) -> dict[str, Int[Tensor, "n"]]:
    return {"x": x}
