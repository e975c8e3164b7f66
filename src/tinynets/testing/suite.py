"""`check_model`: run every check on a model and report."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

import torch
from torch import nn

from .._torch.global_flags import read_flags, write_flags
from .._torch.random_states import RandomStates, seed_everything
from ..errors import ModelCheckError, ModelCheckWarning
from ..inputs.examples import BatchAxes, example_arguments
from .definition import Check, Level, ModelCheck, registered
from .exemptions import Exemption, exemptions, known_ids
from .report.report import Report, Result
from .runner import Plan, Run
from .subject import Subject

ModelOrFactory = nn.Module | Callable[[], nn.Module]
DECLARATIONS = "__checks__"
"""The class attribute by which a model declares what `check_model` would be told: a dict of its arguments."""


@cache
def list_checks() -> tuple[Check, ...]:
    """Return every check: the built-in ones, then those of installed packages.

    Raises:
        TypeError: an entry point of the group `tinynets.checks` holds something that is not a check.
    """
    from . import checks as checks

    found: list[Check] = list(registered())
    for entry in sorted(entry_points(group="tinynets.checks"), key=lambda entry: entry.name):
        loaded = entry.load()
        for item in loaded if isinstance(loaded, list | tuple) else (loaded,):  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(item, Check):
                raise TypeError(f"entry point {entry.name!r} ({entry.value}): {item!r} is not a Check")
            found.append(item)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is declared about a model, and how it is to be checked; `check_model` documents every field."""

    named: Mapping[str, Any] = field(default_factory=dict[str, Any])
    train_inputs: tuple[Any, ...] | None = None
    batch_axes: BatchAxes | Literal["infer"] = "infer"
    groups: Iterable[str] | None = None
    slow: bool = False
    supports: Iterable[str] = ()
    stateful: bool = False
    expected_failures: Mapping[str, str | Exemption] = field(default_factory=dict[str, "str | Exemption"])
    skip: Mapping[str, str] = field(default_factory=dict[str, str])
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    loss: Callable[[Any], torch.Tensor] | None = None
    timeout: float | None = 30.0
    seed: int = 0


def check_model(
    model: ModelOrFactory,
    *inputs: Any,
    named: Mapping[str, Any] | None = None,
    train_inputs: tuple[Any, ...] | None = None,
    batch_axes: BatchAxes | Literal["infer"] = "infer",
    groups: Iterable[str] | None = None,
    slow: bool = False,
    supports: Iterable[str] = (),
    stateful: bool = False,
    expected_failures: Mapping[str, str | Exemption] | None = None,
    skip: Mapping[str, str] | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    loss: Callable[[Any], torch.Tensor] | None = None,
    on_fail: Literal["raise", "warn", "collect"] = "raise",
    callback: Callable[[Result], object] | None = None,
    timeout: float | None = 30.0,
    seed: int = 0,
) -> Report:
    """Run the conformance checks on a model and report on every one of them.

    All checks run, whatever fails; then one error has all the failures. The model is handed back as it came:
    parameters, buffers, gradients, attributes, hooks, modes, global flags and random number generators.

    A class may declare any of these arguments for its instances in an attribute `__checks__`, a dict; what is
    passed here wins.

    Args:
        model: a module; or a class or function that makes one, so that the checks that need a second
            instance (initialisation, saving and loading) can run too.
        inputs: the arguments of `forward`: tensors, shapes such as `"batch 3 32 32"` or `"int64[batch 77]"`,
            or nothing where the annotations of `forward` tell. Values are drawn anew, in their range.
        named: named arguments of `forward`, in the same forms.
        train_inputs: the arguments of `forward` in training mode, where they differ.
        batch_axes: the axis that counts samples, one for all tensors or one for each, None for a tensor that
            has none. Inferred: the axis called `batch` where there are names, else the first one.
        groups: the groups of checks to run, such as `("contract", "batch")`; all if None.
        slow: whether to run also the checks that take seconds.
        supports: ids of capabilities that the model is to have: then their check fails if it has not. Also
            turns on the checks that run only where they are asked for.
        stateful: whether the model is meant to remember earlier calls.
        expected_failures: ids of checks that are known to fail, with the reason or an `Exemption`. One that
            does not fail any more is a failure.
        skip: ids of checks not to run, with the reason.
        params: parameters of single checks, such as `{"batch.subset": {"tolerance": 1e-4}}`.
        loss: maps the output to a scalar, for the checks that train.
        on_fail: `"raise"` an error, `"warn"`, or only `"collect"` the report.
        callback: called with every result as it comes; a progress bar on a terminal if None.
        timeout: seconds that one check may take; None for no limit.
        seed: the seed of everything drawn.

    Raises:
        ModelCheckError: checks failed, and `on_fail` is `"raise"`.
        TypeError: not a module or a factory of one, or the inputs are missing or do not fit `batch_axes`.
        ValueError: an unknown check, group, parameter or `on_fail`; an exemption without a reason.
    """
    if on_fail not in ("raise", "warn", "collect"):
        raise ValueError(f'on_fail is "raise", "warn" or "collect", got {on_fail!r}')
    options = Options(
        named=named or {},
        train_inputs=train_inputs,
        batch_axes=batch_axes,
        groups=groups,
        slow=slow,
        supports=supports,
        stateful=stateful,
        expected_failures=expected_failures or {},
        skip=skip or {},
        params=params or {},
        loss=loss,
        timeout=timeout,
        seed=seed,
    )
    states, flags = RandomStates(), read_flags()
    try:
        subject, plan = prepare(model, inputs, options)
        results = _with_progress(subject, plan, callback)
    finally:
        write_flags(flags)
        states.restore()
    report = Report(type(subject.model).__name__, tuple(results), environment())
    if on_fail == "raise" and not report.ok:
        raise ModelCheckError(report)
    if on_fail == "warn" and (not report.ok or report.with_status("warned")):
        warnings.warn(str(report), ModelCheckWarning, stacklevel=2)
    return report


def prepare(model: ModelOrFactory, inputs: tuple[Any, ...], options: Options) -> tuple[Subject, Plan]:
    """Return the subject and the plan of one run. The caller's generators are left as they are.

    Raises:
        TypeError, ValueError: as `check_model` does.
    """
    states = RandomStates()
    try:
        return _prepared(model, inputs, options)
    finally:
        states.restore()


def _prepared(model: ModelOrFactory, inputs: tuple[Any, ...], options: Options) -> tuple[Subject, Plan]:
    factory = None if isinstance(model, nn.Module) else model
    if factory is not None and not callable(factory):
        kind = type(model).__name__
        raise TypeError(
            f"check_model takes a torch.nn.Module, or a class or function that makes one, got {kind}"
        )
    if isinstance(model, nn.Module):
        built = model
    else:
        seed_everything(options.seed)
        built = model()
        if not isinstance(built, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the factory made a {type(built).__name__}, not a torch.nn.Module")
    if any(isinstance(tensor, nn.UninitializedParameter) for tensor in built.parameters()):
        raise TypeError("the model has lazy layers: call it once, so that its parameters have shapes")
    options = _declared(built, options)
    plan = _plan(options)
    seed_everything(options.seed)
    example = example_arguments(built, inputs, options.named, options.batch_axes)
    train = options.train_inputs
    subject = Subject(
        built,
        example,
        factory=factory,
        train_example=None if train is None else example_arguments(built, train, {}, options.batch_axes),
        stateful=options.stateful,
        loss=options.loss,
        supports=plan.supports,
        seed=options.seed,
    )
    return subject, plan


def _declared(model: nn.Module, options: Options) -> Options:
    """Add what the class declares to what was passed, which wins."""
    declared: Mapping[str, Any] = getattr(type(model), DECLARATIONS, {})
    fields = Options.__dataclass_fields__
    known_ids(declared, fields, f"{type(model).__name__}.{DECLARATIONS}", "argument")
    default = Options()
    changes: dict[str, Any] = {}
    for name, value in declared.items():
        passed = getattr(options, name)
        if isinstance(passed, Mapping):
            changes[name] = {**value, **passed}
        elif name == "supports":
            changes[name] = frozenset(value) | frozenset(passed)
        elif passed == getattr(default, name):
            changes[name] = value
    return Options(**{**{name: getattr(options, name) for name in fields}, **changes})


def _plan(options: Options) -> Plan:
    checks = list_checks()
    ids = [check.id for check in checks]
    groups = None if options.groups is None else frozenset(options.groups)
    supports = frozenset(options.supports)
    known_ids(groups or (), sorted({id.partition(".")[0] for id in ids}), "groups", "group")
    for argument in ("supports", "expected_failures", "skip", "params"):
        known_ids(getattr(options, argument), ids, argument)
    by_id = dict(zip(ids, checks, strict=True))
    for id in supports:
        if by_id[id].level is not Level.CAPABILITY and not getattr(by_id[id], "opt_in", False):
            raise ValueError(f"supports: {id!r} is no capability: it is checked in any case")
    for id, reason in options.skip.items():
        if not reason.strip():
            raise ValueError(f"skip: {id!r} needs a reason")
    for id, given in options.params.items():
        found = by_id[id]
        if isinstance(found, ModelCheck):
            known_ids(given, found.params, f"params[{id!r}]", "parameter")
    return Plan(
        checks=checks,
        groups=groups,
        slow=options.slow,
        supports=supports,
        exemptions=exemptions(options.expected_failures),
        skip=options.skip,
        params=options.params,
        timeout=options.timeout,
    )


def _with_progress(subject: Subject, plan: Plan, callback: Callable[[Result], object] | None) -> list[Result]:
    from .progress import progress

    with progress(len(plan.checks), callback) as report:
        return list(Run(subject, plan).results(report))


def environment() -> dict[str, str]:
    """Return the versions and the machine, as a report names them."""
    from .. import __version__

    return {
        "tinynets": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
    }
