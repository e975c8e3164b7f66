"""Load models by target (`pkg.mod:Model`, `path/to/file.py:make`, a name of the zoo): imports, calls without
arguments, which classes of a file are models, and one-line errors.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..errors import TargetError


@contextlib.contextmanager
def _target_errors(what: str) -> Generator[None, None, None]:
    """Convert any error of the user's code, including `sys.exit()`, to a `TargetError` of one line."""
    try:
        yield
    except (TargetError, KeyboardInterrupt):
        raise
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
        if frames and frames[-1].filename == __file__:
            frames = []  # an error about the file, not in one of its lines
        place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
        if isinstance(error, SyntaxError) and error.filename:
            place = f" ({os.path.basename(error.filename)}:{error.lineno})"
        text = " ".join((getattr(error, "msg", None) or str(error)).split())
        raise TargetError(f"{what}: {type(error).__name__}: {text}{place}") from error


def import_file(path: Path) -> ModuleType:
    """Import a file under its name in its package, so that relative imports work.

    Raises:
        TargetError: the file cannot be imported.
    """
    with _target_errors(f"{path} cannot be imported"):
        return _imported(path.resolve())


def _imported(path: Path) -> ModuleType:
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    name = ".".join(part for part in parts if part != "__init__")
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    sys.path.insert(0, str(folder))
    if len(parts) > 1:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_model(target: str) -> nn.Module:
    """Return the model that a target names; a class or function is called without arguments.

    Raises:
        TargetError: the target does not exist, or cannot be built without arguments.
    """
    return build(load_target(target), target)


def load_target(target: str) -> Any:
    """Return the object that a target names; for a name of the zoo, a function that builds the model.

    Raises:
        TargetError: the target does not exist.
    """
    place, colon, name = target.partition(":")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise TargetError(f"there is no file {place}")
        if not name:
            raise TargetError(f"name the model too, as in {place}:Model")
    if not colon:
        return _from_zoo(target)
    if "" not in sys.path:
        sys.path.insert(0, "")
    if place.endswith(".py"):
        value: Any = import_file(Path(place))
    else:
        with _target_errors(f"{place} cannot be imported"):
            value = importlib.import_module(place)
    for part in name.split("."):
        if not hasattr(value, part):
            raise TargetError(f"{place} has no {name}")
        value = getattr(value, part)
    return value


def build(value: Any, name: str) -> nn.Module:
    """Return a model: the value itself, or what it returns when called without arguments.

    Raises:
        TargetError: it needs arguments, raises, or returns something else.
    """
    if not isinstance(value, nn.Module):
        if not callable(value):
            raise TargetError(f"{name} is {type(value).__name__}, not a model, nor something that makes one")
        missing = _required(value)
        if missing:
            raise TargetError(
                f"{name} needs {', '.join(missing)}: write a function that builds it and name that"
            )
        with _target_errors(f"{name} cannot be built"):
            value = value()
    if not isinstance(value, nn.Module):
        raise TargetError(f"{name} makes {type(value).__name__}, not a model")
    return value


def models_in(module: ModuleType) -> Iterator[type[nn.Module]]:
    """Yield the classes of a module that define `forward` themselves, in the order of the file."""
    for value in list(vars(module).values()):
        if not (isinstance(value, type) and issubclass(value, nn.Module)):
            continue
        if value.__module__ == module.__name__ and any(name.startswith("forward") for name in vars(value)):
            yield value


def _required(value: Any) -> list[str]:
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _from_zoo(name: str) -> Callable[[], nn.Module]:
    from ..models import create_model

    try:
        with torch.device("meta"):
            create_model(name)  # raises for a wrong name, and is cheap
    except ValueError as error:
        raise TargetError(f"{error}; for a model of your own write pkg.mod:Model") from None
    return functools.partial(create_model, name)
