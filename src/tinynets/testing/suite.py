"""`check_model`: its arguments and their documentation, `on_fail=`, how a factory is called, the progress
bar, and the versions and machine in a report.
"""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from .._torch.state.global_flags import changed_flags, read_flags
from .._torch.state.random_states import preserved_random_states, seed_everything
from .._version import __version__
from ..errors import ModelCheckError, ModelCheckWarning
from ..inputs.arguments import Arguments
from ..inputs.examples import BatchAxes, MakeInputs, example_arguments, made_example
from .check_ids import Group
from .definition import list_checks
from .options import Exemption, Options, with_declared
from .plan import Plan, make_plan
from .report.report import Report
from .report.results import Result
from .runner import Runner, preserved_globals
from .subject import Subject

ModelOrFactory = nn.Module | Callable[[], nn.Module]
Callback = Callable[[Result], object]


def check_model(
    model: ModelOrFactory,
    *inputs: Any,
    named: Mapping[str, Any] | None = None,
    train_inputs: tuple[Any, ...] | None = None,
    batch_axes: BatchAxes | Literal["infer"] = "infer",
    make_inputs: MakeInputs | None = None,
    groups: Group | Iterable[Group] | None = None,
    checks: str | Iterable[str] | None = None,
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

    All checks run, even after failures; one error lists all of them. Afterwards the model is restored:
    parameters, buffers, gradients, attributes, hooks and modes; so are global flags and random number
    generators.

    A class may declare any of these arguments for its instances in a dict `__checks__`; arguments passed here
    take precedence.

    Args:
        model: a module; or a class or function that makes one, which also allows the checks that need a
            second instance (initialisation, saving and loading).
        inputs: the arguments of `forward`: tensors, shapes such as `"batch 3 32 32"` or `"int64[batch 77]"`,
            or nothing if `forward` is annotated. New values are drawn like them: constants stay constant,
            masks stay masks, integers are among those seen.
        named: keyword arguments of `forward`, in the same forms.
        train_inputs: the arguments of `forward` in training mode, if they differ.
        batch_axes: the axis that counts samples, one for all tensors or one for each, None for a tensor that
            has none. Inferred: the axis called `batch` if axes have names, else the first one.
        make_inputs: makes the arguments of a call, if `inputs` cannot describe them: called with the batch
            size and a `torch.Generator`, it returns a tuple, a dict by name, or a tensor. Pass no `inputs`
            then.
        groups: the groups of checks to run, such as `"batch"` or `("runs", "batch")`; all if None. The report
            omits other groups, unless the model does not run. Your own group is `checks="mine.*"`.
        checks: single checks to run, by id or by glob: `"batch.neighbour"`, `"*.threads"`.
        slow: whether to run the checks that take seconds as well.
        supports: ids of capabilities that the model must have: their checks fail if it lacks them. Also
            turns on the checks that run only on request.
        stateful: whether the model is meant to remember earlier calls.
        expected_failures: ids or globs of checks that are known to fail, with the reason or an `Exemption`;
            an id without its variant covers all variants. A check that is named alone but passes is a
            failure.
        skip: ids or globs of checks not to run, with the reason.
        params: parameters of single checks, such as `{"batch.subset": {"tolerance": 1e-4}}`.
        loss: maps the output to a scalar, for the checks that train.
        on_fail: `"raise"` an error, `"warn"`, or just `"collect"` the report. Warnings are a
            `ModelCheckWarning`, unless collected.
        callback: called with every result as it comes; a progress bar on a terminal if None.
        timeout: CPU seconds that one check may take, None for no limit. A check that takes longer is an
            error.
        seed: the seed of everything random.

    Raises:
        ModelCheckError: checks failed, or broke although they must pass, and `on_fail` is `"raise"`.
        TypeError: `model` is not a module or a factory, or the inputs are missing or do not fit `batch_axes`.
        ValueError: an unknown check, group, parameter or `on_fail`; an exemption without a reason.

    Examples:
        >>> tn.testing.check_model(nn.Linear(4, 2), "batch 4", groups="runs").ok
        True
    """
    options = Options(
        named=named or {},
        train_inputs=train_inputs,
        batch_axes=batch_axes,
        make_inputs=make_inputs,
        groups=groups,
        checks=checks,
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
    if on_fail not in ("raise", "warn", "collect"):
        raise ValueError(f'on_fail is "raise", "warn" or "collect", got {on_fail!r}')
    report = run_checks(model, inputs, options, callback)
    if on_fail == "raise" and not report.ok:
        raise ModelCheckError(report)
    if on_fail != "collect" and (not report.ok or report.unneeded or report.with_status("warned", "error")):
        warnings.warn(repr(report), ModelCheckWarning, stacklevel=2)
    return report


def run_checks(
    model: ModelOrFactory,
    inputs: tuple[Any, ...],
    options: Options,
    callback: Callback | None = None,
) -> Report:
    """Run the checks that the options select and return the report; `check_model` documents the arguments.

    Raises:
        TypeError, ValueError: as `check_model` does.
    """
    with preserved_globals():
        subject, plan = prepare(model, inputs, options)
        with _progress(len(plan.ordered()), callback) as report:
            runner = Runner(subject, plan)
            results = tuple(runner.results(report))
    return Report(type(subject.model).__name__, results, environment(), tuple(runner.unneeded()))


def prepare(model: ModelOrFactory, inputs: tuple[Any, ...], options: Options) -> tuple[Subject, Plan]:
    """Return the subject and the plan of one run, without advancing the caller's random generators.

    Raises:
        TypeError, ValueError: as `check_model` does.
    """
    with preserved_random_states():
        factory = None if isinstance(model, nn.Module) else model
        if factory is not None and not callable(factory):
            kind = type(model).__name__
            raise TypeError(
                f"check_model takes a torch.nn.Module, or a class or function that makes one, got {kind}"
            )
        flags = read_flags()
        if isinstance(model, nn.Module):
            built = model
        else:
            seed_everything(options.seed)
            built = model()
            if not isinstance(built, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"the factory made a {type(built).__name__}, not a torch.nn.Module")
        changes = changed_flags(flags)
        if any(isinstance(tensor, nn.UninitializedParameter) for tensor in built.parameters()):
            raise TypeError("the model has lazy layers: call it once, so that its parameters have shapes")
        plan = make_plan(list_checks(), with_declared(options, built))
        options = plan.options
        seed_everything(options.seed)
        example = _example(built, inputs, options)
        train = options.train_inputs
        subject = Subject(
            built,
            example,
            factory=factory,
            train_example=None if train is None else example_arguments(built, train, {}, options.batch_axes),
            stateful=options.stateful,
            loss=options.loss,
            supports=frozenset(options.supports),
            seed=options.seed,
            make_inputs=options.make_inputs,
            constructor_changes=changes,
        )
        return subject, plan


def _example(model: nn.Module, inputs: tuple[Any, ...], options: Options) -> Arguments:
    if options.make_inputs is None:
        return example_arguments(model, inputs, options.named, options.batch_axes)
    if inputs or options.named:
        raise TypeError("make_inputs makes all the inputs: pass no others beside it")
    return made_example(options.make_inputs, options.batch_axes, options.seed)


@contextmanager
def _progress(total: int, callback: Callback | None) -> Generator[Callback | None]:
    """Yield what to call with each of `total` results: the callback, else a progress bar on a terminal."""
    if callback is not None or not sys.stderr.isatty():
        yield callback
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError:  # rich is an optional extra
        yield None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda result: bar.update(task, advance=1, description=result.id)


def environment() -> dict[str, str]:
    """Return the package versions and the machine, for a report."""
    return {
        "tinynets": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
    }
