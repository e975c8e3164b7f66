"""The models that `[tool.tinynets]` in pyproject.toml names, its keys and errors; and how `ID=REASON`,
`NAME=VALUE` and `--batch-axis` of a command line are read.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from ..errors import TargetError
from ..inputs.targets import build, load_target
from .check_ids import resolve_id
from .options import Options
from .pytest_params import Case

_OWN = ("target", "inputs", "arguments")
_FROM_CODE = ("loss", "make_inputs", "train_inputs")
"""Options that TOML cannot express; a class sets them in its `__checks__`."""
KEYS = [*_OWN, *(field.name for field in fields(Options) if field.name not in _FROM_CODE)]
"""The keys of an entry: what to check, its inputs, the arguments of its factory, and options."""


def project_cases(folder: Path | None = None) -> list[Case]:
    """Return a case for every entry of `[[tool.tinynets.models]]`; keys beside them apply to all.

    Args:
        folder: where the search for pyproject.toml starts, upwards; the current folder if None.

    Raises:
        TargetError: there is no such file, no such table, or an entry is wrong.
    """
    path = _pyproject(folder or Path.cwd())
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("tinynets", {})
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{path}: {error}") from None
    entries = table.get("models", [])
    if not entries:
        raise TargetError(f"{path} names no models: add [[tool.tinynets.models]] with a target, or name one")
    shared = {key: value for key, value in table.items() if key != "models"}
    return [_case(f"{path}: [tool.tinynets]", shared | entry) for entry in entries]


def _pyproject(folder: Path) -> Path:
    for parent in (folder, *folder.parents):
        if (parent / "pyproject.toml").is_file():
            return parent / "pyproject.toml"
    raise TargetError("name a model to check, such as resnet20 or nets.py:Net: there is no pyproject.toml")


def _case(place: str, entry: Mapping[str, Any]) -> Case:
    try:
        known = [resolve_id(key, KEYS, place, "key") for key in entry]
    except ValueError as error:
        raise TargetError(str(error)) from None
    if "target" not in entry:
        raise TargetError(f"{place}: a model has no target")
    options = {key: entry[key] for key in known if key not in _OWN}
    if "batch_axes" in options:
        options["batch_axes"] = _axes(options["batch_axes"])
    return target_case(
        entry["target"],
        entry.get("inputs", []),
        arguments=entry.get("arguments", {}),
        options=Options(**options),
    )


def target_case(
    target: str,
    inputs: Iterable[str] = (),
    *,
    arguments: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Case:
    """Return the case of a target.

    Args:
        target: a name of the zoo, `pkg.mod:Model` or `file.py:make`.
        inputs: the shapes of the inputs.
        arguments: keyword arguments of the class or function.
        options: what is declared about the model.

    Raises:
        TargetError: the target does not name a model, or accepts no arguments.
    """
    model: Any = load_target(target)
    if arguments:
        if isinstance(model, nn.Module) or not callable(model):
            raise TargetError(f"{target} is made already: it takes no arguments")
        model = cast("Any", partial(model, **arguments))
    if callable(model) and not isinstance(model, nn.Module):
        model = partial(build, model, target)  # reports errors in one line
    return Case(target, model, tuple(inputs), options or Options())


def for_all_models(
    cases: Iterable[Case], *, groups: list[str], slow: bool, timeout: float | None
) -> list[Case]:
    """Return the cases of a project with what a command line says instead of what pyproject.toml says."""
    said: dict[str, Any] = {"groups": groups or None, "slow": slow or None, "timeout": timeout}
    given = {name: value for name, value in said.items() if value is not None}
    return [replace(case, options=replace(case.options, **given)) for case in cases]


def parse_pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """Return `NAME=VALUE` texts as a dict.

    Raises:
        ValueError: one has no `=`.
    """
    pairs = [text.partition("=") for text in given]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise ValueError(f"{option}: write {name or 'NAME'}=..., got {name + equals + value!r}")
    return {name: value for name, _, value in pairs}


def parse_arguments(given: Iterable[str], option: str) -> dict[str, Any]:
    """Return `NAME=VALUE` texts as keyword arguments: a value is a Python literal, or else a text."""

    def literal(text: str) -> Any:
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text

    return {name: literal(text) for name, text in parse_pairs(given, option).items()}


def parse_axes(given: list[str], option: str) -> Any:
    """Return batch axes: one for all tensors, or one for each; `none` for a tensor that has none.

    Raises:
        ValueError: one is neither a number nor `none`.
    """
    if not given:
        return "infer"
    for text in given:
        if text != "none" and not text.removeprefix("-").isdigit():
            raise ValueError(f'{option}: an axis is a number or "none", got {text!r}')
    return _axes([text if text == "none" else int(text) for text in given])


def _axes(given: Any) -> Any:
    if not isinstance(given, list):
        return None if given == "none" else given
    axes = [None if axis == "none" else axis for axis in cast("list[Any]", given)]
    return axes[0] if len(axes) == 1 else axes
