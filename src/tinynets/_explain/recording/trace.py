"""Run a forward pass for `tn.explain` on a private copy: `symbolic`, else `fixed`, else `real`, and why; the
totals, percentages, unused parameters, notes and proof of a run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import nn

from ..._contract.file_names import file_name
from ..._contract.toggle import toggle
from ..._prove.conditions import needed, together
from ..._prove.proof import LineProof, Place, Proof, first_line
from ..._torch.modules.module_copies import drop_user_hooks, fake_copy, real_copy
from ..._torch.state.random_states import preserved_random_states
from ..._torch.tracing.fake_tensors import fake_mode, needs_values, python_kernels, silent_fakes
from ...errors import InputError, LoopsOverAxisError
from ...inputs.make_inputs import Inputs
from ...inputs.symbolic_sizes import Sizes
from ..records import Run
from .amounts import amount
from .recorder import Recorder
from .rows import build_frame

Method = Literal["symbolic", "fixed", "real"]


def explained(
    model: nn.Module,
    inputs: tuple[Any, ...],
    named: Mapping[str, Any],
    on: Literal["fake", "real"],
    modes: Sequence[str],
) -> list[Run]:
    """Run the model once in each mode."""
    model = cast("nn.Module", getattr(model, "_orig_mod", model))  # the model that torch.compile wraps
    return [_explained(model, inputs, named, on, mode) for mode in modes]


def _explained(
    model: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any], on: str, mode: str
) -> Run:
    """Return the first method that succeeds, or else the failure of the best one."""
    attempt = partial(_attempt, model, inputs, named, mode)
    if on == "real":
        return attempt("real", "asked for")[0]
    run, error, unusual = attempt("symbolic", "")
    if error is None and not run.tied:
        return run
    if error is None or needs_values(error):
        # Kernels written in C++ tie symbols to numbers or refuse them; torch has others in Python.
        other, problem, _ = attempt("symbolic", "", keep_symbols=True, unusual=unusual)
        if problem is None and (error is not None or len(other.tied) < len(run.tied)):
            return other
        if error is None:
            return run
    reason = _reason(run)
    second, second_error, _ = attempt("fixed", reason)
    if second_error is None:
        return second
    on_meta = any(parameter.is_meta for parameter in model.parameters())
    if on_meta or not any(needs_values(e) for e in (error, second_error)):
        return run
    return attempt("real", reason)[0]


def _reason(run: Run) -> str:
    """Describe the error and the line that ended the pass."""
    error = run.error.splitlines()[0][:120]
    failed = [(frame, line) for _, frame, line in run.frame.walk() if line.failed and line.line]
    if not failed:
        return error
    frame, line = failed[-1]
    return f"{error} in {file_name(frame.file)}:{line.line}: {line.code[:80]}"


def _attempt(
    model: nn.Module,
    inputs: tuple[Any, ...],
    named: Mapping[str, Any],
    mode: str,
    method: Method,
    reason: str,
    *,
    keep_symbols: bool = False,
    unusual: bool = True,
) -> tuple[Run, Exception | None, bool]:
    sizes = Sizes(symbolic=method == "symbolic", unusual=unusual)
    real = method == "real"
    with preserved_random_states(model):
        fakes = fake_mode(sizes.environment)
        copied = real_copy(model) if real else fake_copy(model, fakes)
        hooks = drop_user_hooks(copied)
        if mode != "as is":
            copied.train(mode == "train")
        error: Exception | None = None
        dispatcher = python_kernels() if keep_symbols else contextlib.nullcontext()
        with contextlib.nullcontext() if real else fakes, dispatcher:
            positional, keywords = Inputs(copied, sizes, real).make(inputs, named)
            recorder = Recorder(copied, unroll=not unusual)
            try:
                # The user's own call will show the warnings.
                with silent_fakes(), warnings.catch_warnings(action="ignore"):
                    recorder.run(positional, keywords)
            except Exception as problem:  # a forward pass may fail in any way: it is shown, not raised
                error = problem
    # If the model compares the batch with a number, or loops over it, use the real batch size.
    if unusual and (isinstance(error, LoopsOverAxisError) or not sizes.same_branches()):
        return _attempt(model, inputs, named, mode, method, reason, keep_symbols=keep_symbols, unusual=False)
    if recorder.root is None:
        if error is not None:
            raise error
        raise InputError(f"{type(model).__name__} has no forward in Python that could be followed")
    run = _run(model, copied, recorder, sizes, method, mode, reason, hooks, error)
    run.proof = _proof_of(run, sizes)
    if keep_symbols:
        run.notes = (*run.notes, "new memory is that of torch's kernels written in Python")
    return run, error, unusual


def _run(
    model: nn.Module,
    copied: nn.Module,
    recorder: Recorder,
    sizes: Sizes,
    method: str,
    mode: str,
    reason: str,
    hooks: int,
    error: Exception | None,
) -> Run:
    assert recorder.root is not None
    parameters = {id(parameter): parameter for parameter in copied.parameters()}
    frame = build_frame(recorder.root, sizes, parameters)
    flags = [module.training for module in copied.modules()]
    grad = "grad on" if torch.is_grad_enabled() else "grad off"
    if torch.is_inference_mode_enabled():
        grad = "inference"
    events = recorder.root.lines
    unused = () if error else tuple(n for key, n in recorder.parameters.items() if key not in recorder.used)
    notes = [f"{hooks} hooks of your own were not run"] if hooks else []
    if not toggle.on:
        notes.append("contracts are switched off")
    run = Run(
        mode,
        frame,
        {**sizes.values, **{name: size for name, size in sizes.measured.items() if name not in sizes.values}},
        tuple(sizes.chosen),
        tuple(sizes.free_axes()),
        method,
        reason,
        tuple(notes),
        (sum(flags), len(flags)),
        grad,
        sum(parameter.numel() for parameter in model.parameters()),
        sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        unused,
        amount((event.macs for event in events), sizes),
        amount((event.allocated for event in events), sizes, unit="B"),
        amount((event.saved for event in events), sizes, unit="B"),
        recorder.autocast,
        sizes.rename(f"{type(error).__name__}: {error}") if error else "",
        tuple(sizes.fixed_axes()),
    )
    for _, _, line in frame.walk():
        line.parameter_percent = _percent(line.parameters, run.parameters)
        line.mac_percent = _percent(line.macs.value, run.macs.value)
    return run


def _percent(part: int | None, whole: int | None) -> float:
    return round(100 * part / whole, 2) if part and whole else 0.0


def _proof_of(run: Run, sizes: Sizes) -> Proof | None:
    """Return what a run proves of its annotated lines; None if there are none, or no size is free."""
    proved = "unproved" if _unproved(run) else "proved"
    lines: dict[Place, LineProof] = {}
    for _, frame, line in run.frame.walk():
        if line.declared_by == "annotation" and line.verdict:
            name = "return" if line.kind == "return" else ", ".join(line.names)
            function = f"{frame.module}.{frame.function}"
            place = Place(line.file, line.line, function, name, line.declared, line.kind)
            wrong = line.verdict == "≠" or (place in lines and lines[place].verdict == "fails")
            lines[place] = LineProof(place, "fails" if wrong else proved)
    if not lines or not sizes.axes:
        return None
    conditions = together(needed(sizes.conditions()))
    return Proof(
        run.frame.module, run.free, tuple(conditions), (), tuple(lines.values()), reason=_unproved(run)
    )


def _unproved(run: Run) -> str:
    """Return why a run proves nothing, or `""`."""
    if run.error:
        return first_line(run.error)
    if run.method != "symbolic":
        return run.reason or f"{run.method} sizes"
    return f"{', '.join(run.tied)} tied to one size by the trace" if run.tied else ""
