"""Support IPython's `%autoreload`, which patches functions in place: checked ones are replaced as a whole.

IPython writes new code into the old function but keeps its closure, with the constants of the old checks.
Since version 9, it compiles a changed function alone, without its class and therefore without checks.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from .codegen.copy_function import copy_function
from .codegen.source import code_inside
from .contract import contract_of
from .descriptors import functions_of

_TARGET = "_tn_target"
_UNKNOWN = (
    "tinynets does not know the %autoreload of this version of IPython, which may take the checks off what it"
    " reloads: after an edit, restart the kernel"
)


def support_autoreload() -> None:
    """Make `%autoreload` of the running IPython, if any, keep the checks of the functions that it reloads."""
    if "IPython" not in sys.modules:
        return
    for autoreload in _extensions():
        rules: list[Any] | None = getattr(autoreload, "UPDATE_RULES", None)
        if rules is None:
            warnings.warn(_UNKNOWN, stacklevel=3)
        elif not any(update is _replace for _, update in rules):
            rules.insert(0, (_is_checked_pair, _replace))
            if hasattr(autoreload, "DeduperReloader"):
                _leave_checked_modules_alone(autoreload.DeduperReloader)


def _extensions() -> Iterator[Any]:
    """Yield the modules of the extension: until version 7, `%load_ext` found another one on `sys.path`."""
    for name in ("IPython.extensions.autoreload", "autoreload"):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # another module named IPython
            continue
        if spec and spec.origin and Path(spec.origin).parts[-3:-1] == ("IPython", "extensions"):
            yield importlib.import_module(name)


def _is_checked_pair(old: object, new: object) -> bool:
    functions = isinstance(old, FunctionType) and isinstance(new, FunctionType)
    return functions and bool(contract_of(old) or contract_of(new))


def _replace(old: FunctionType, new: FunctionType) -> None:
    """Make the old function call the new one, whose code may close over different variables."""
    free, name = old.__code__.co_freevars, old.__name__ if old.__name__.isidentifier() else "function"
    lines = [
        f"def surroundings({', '.join(free)}):",
        f" def {name}(*args, {_TARGET}, **kwargs):",
        *([f"  if 0: {', '.join(free)}"] if free else []),  # the number of free variables must stay the same
        f"  return {_TARGET}(*args, **kwargs)",
    ]
    module = compile("\n".join(lines), "<reloaded by IPython>", "exec", dont_inherit=True)
    target = _of_the_class_of(old, new)
    old.__code__ = code_inside(module, "surroundings", name)
    old.__defaults__, old.__kwdefaults__ = None, {_TARGET: target}
    old.__doc__, old.__annotations__ = new.__doc__, new.__annotations__
    old.__dict__.clear()
    old.__dict__.update(new.__dict__, __wrapped__=target)


def _of_the_class_of(old: FunctionType, new: FunctionType) -> FunctionType:
    """Copy a method so that its `super()` refers to the old class, whose instances call it."""
    theirs, ours = (dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)) for f in (old, new))
    if not ("__class__" in theirs and "__class__" in ours):
        return new
    return copy_function(new, closure=tuple({**ours, "__class__": theirs["__class__"]}.values()))


def _leave_checked_modules_alone(reloader: Any) -> None:
    """Make IPython 9 reload a module with checked functions as earlier versions do: by running it."""
    original: Callable[[Any, ModuleType], bool] = reloader.maybe_reload_module

    @functools.wraps(original)
    def maybe_reload_module(self: Any, module: ModuleType) -> bool:
        return not _has_checks(module) and original(self, module)

    reloader.maybe_reload_module = maybe_reload_module


def _has_checks(module: ModuleType) -> bool:
    for value in list(vars(module).values()):
        own = isinstance(value, type) and value.__module__ == module.__name__
        members = list(vars(value).values()) if own else [value]
        if any(contract_of(function) for member in members for function in functions_of(member)):
            return True
    return False
