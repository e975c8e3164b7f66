"""Explain every model that a file defines, whatever its constructors do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from ..errors import TargetError
from ..inputs.targets import build, import_file, load_model, models_in
from .explain import explain
from .explanation import Explanation


def explain_file(path: Path, *inputs: str, factory: str | None = None) -> tuple[list[Explanation], list[str]]:
    """Import a file and explain its models in both modes.

    Args:
        path: a Python file.
        inputs: shapes to call every model with; not needed where `forward` is annotated.
        factory: `pkg.mod:make`, which builds the only model; if None, every class in the file is built.

    Returns:
        The explanations of the models that could be run, and why the others could not.
    """
    try:
        module = import_file(path)
    except TargetError as error:
        return [], [str(error)]
    makers: dict[str, Callable[[], nn.Module]] = (
        {factory: partial(load_model, factory)}
        if factory
        else {model.__name__: partial(build, model, model.__name__) for model in models_in(module)}
    )
    explanations: list[Explanation] = []
    problems: list[str] = []
    for name, make in makers.items():
        try:
            explanation = explain(make(), *inputs, modes=("train", "eval"))
        except TargetError as error:
            hint = "" if factory else ", and give it as --factory"
            problems.append(f"{name} not looked at: {error}{hint}")
        except Exception as error:  # whatever a constructor does
            problems.append(f"{name} not looked at: {type(error).__name__}: {error}")
        else:
            errors = [run.error.splitlines()[0] for run in explanation.runs if run.error]
            if errors:  # the input may be wrong for this model, so its lines prove nothing about a comment
                problems.append(f"{name} failed: {errors[0]}")
            else:
                explanations.append(explanation)
    return explanations, problems
