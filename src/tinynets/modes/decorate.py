"""A mode block as a decorator: functions, generators, coroutines and async generators run inside it, and it
is left at each `yield` and `await`; classes are refused.

A `with` block around a `yield` or an `await` stays open while other code runs. Here the context is exited
each time the function yields control, and entered again when it resumes.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

Context = AbstractContextManager[None]


def run_inside(context: Context, function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` wrapped so that its own code runs inside the reusable `context`.

    Raises:
        TypeError: `function` is a class or not callable.
    """
    if inspect.isclass(function):
        raise TypeError(
            f"cannot decorate the class {function.__name__}: decorate its methods, or use a with block"
        )
    if isinstance(function, (classmethod, staticmethod)):
        raise TypeError("put @classmethod and @staticmethod above this decorator, not below it")
    if not callable(function):
        raise TypeError(f"can only decorate a function, not {type(function).__name__}")

    def plain(*args: Any, **kwargs: Any) -> Any:
        with context:
            return function(*args, **kwargs)

    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from _steps(context, function(*args, **kwargs)))

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return await _awaitable_steps(context, function(*args, **kwargs))

    wrapper: Any = plain
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(context, function)
    elif inspect.iscoroutinefunction(function):
        wrapper = coroutine
    elif inspect.isgeneratorfunction(function):
        wrapper = generator
    return cast("Callable[P, R]", functools.wraps(function)(wrapper))


def _async_generator(context: Context, function: Callable[..., Any]) -> Callable[..., Any]:
    async def inside(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        step = generator.asend(None)
        while True:
            try:
                value = await _awaitable_steps(context, step)
            except StopAsyncIteration:
                return
            try:
                sent = yield value
            except GeneratorExit:
                await _awaitable_steps(context, generator.aclose())
                raise
            except BaseException as error:
                step = generator.athrow(error)
            else:
                step = generator.asend(sent)

    return inside


def _steps(context: Context, generator: Any) -> Generator[Any, Any, Any]:
    """`yield from generator` with each step inside `context` (PEP 380 spelled out)."""
    resume = functools.partial(generator.send, None)
    while True:
        try:
            with context:
                value = resume()
        except StopIteration as stop:
            return stop.value
        try:
            sent = yield value
        except GeneratorExit:
            with context:
                generator.close()
            raise
        except BaseException as error:
            resume = functools.partial(generator.throw, error)
        else:
            resume = functools.partial(generator.send, sent)


_awaitable_steps = types.coroutine(_steps)
