"""Explain every model class of a file for `tinynets comments`: built with its defaults or by `--factory`, in
both modes if its code branches on `training`, or `not looked at`, and why.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from torch import nn

from ..errors import TargetError
from ..inputs.targets import build, import_file, load_model, models_in
from .explain import explain
from .explanation import Explanation


def explain_file(path: Path, *inputs: str, factory: str | None = None) -> tuple[list[Explanation], list[str]]:
    """Import a file and explain its models, in both modes if something branches on the mode.

    Returns the explanations of the models that could be run, and why the others ran in none of them. With a
    factory, `pkg.mod:make`, what it builds is the only model; else every class in the file is built.
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
    problems: dict[str, str] = {}
    for name, make in makers.items():
        try:
            model = make()
            explanation = explain(
                model, *inputs, modes=("train", "eval") if _branches_on_mode(model) else None
            )
        except TargetError as error:
            hint = "" if factory else ", and give it as --factory"
            problems[name] = f"{name} not looked at: {error}{hint}"
        except Exception as error:  # a constructor may raise anything
            problems[name] = f"{name} not looked at: {type(error).__name__}: {error}"
        else:
            errors = [run.error.splitlines()[0] for run in explanation.runs if run.error]
            if errors:  # the input may be wrong for this model, so its lines prove nothing about a comment
                problems[name] = f"{name} failed: {errors[0]}"
            else:
                explanations.append(explanation)
    # A block that cannot be built by itself may have run inside a model that contains it.
    seen = {frame.module for each in explanations for run in each.runs for _, frame, _ in run.frame.walk()}
    return explanations, [problem for name, problem in problems.items() if name not in seen]


def _branches_on_mode(model: nn.Module) -> bool:
    """Return whether a module may branch on the mode: nothing else changes a shape."""
    kinds = {type(module) for module in model.modules()}
    return any(_file_branches_on_mode(kind) for kind in kinds if not kind.__module__.startswith("torch."))


@cache
def _file_branches_on_mode(kind: type[nn.Module]) -> bool:
    try:
        tree = ast.parse(Path(inspect.getfile(kind)).read_bytes())
    except (OSError, TypeError, SyntaxError, ValueError):
        return True  # unknown
    tests = [n.test for n in ast.walk(tree) if isinstance(n, ast.If | ast.IfExp | ast.While | ast.Assert)]
    tests += [node.subject for node in ast.walk(tree) if isinstance(node, ast.Match)]
    return any("training" in ast.unparse(test) for test in tests)
