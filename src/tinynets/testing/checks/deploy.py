"""Whether the model can be compiled, exported and handed to other run times."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from ..._torch import pytree
from ..._torch.compiler import compile_ahead_of_time, refuse_recompiling
from ..._torch.random_states import seed_everything
from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..definition import Level, check
from ..measure.compare import FLOAT32_LIMIT, Leaf, detached, worst
from ..subject import Subject

SIZES = (4, 3, 5, 7)
"""Batch sizes for a model that is compiled once."""


@contextmanager
def _compiler() -> Generator[None]:
    """A compiler without memory, before and after: what it learns of one model is not for the next."""
    torch.compiler.reset()
    try:
        yield
    finally:
        torch.compiler.reset()


@check("transforms.compile", Level.SHOULD, slow=True)
def compiled(subject: Subject) -> None:
    """`torch.compile(model, fullgraph=True)` traces the model as one graph that gives the same values.

    With the backend `"eager"`, which runs the graph as it is: it shows what tracing changes.

    Why: every graph break costs speed, and whatever exports or serves the model needs one graph.
    Fix: the message has the line; no `.item()`, `print`, branch on values or call into numpy in forward.
    Declare: an exemption, with the reason of the break. Recurrent layers of torch are not traced.
    """
    with _compiler():
        model = torch.compile(subject.model, backend="eager", fullgraph=True)  # pyright: ignore[reportUnknownMemberType]
        found = worst(_traced(subject, model, subject.batch()), subject.reference)
    if found is not None and found.error > FLOAT32_LIMIT:
        size = f"{found.error:.1e} of the largest value (limit {FLOAT32_LIMIT:.0e})"
        raise Failure("the compiled model gives another output", where=found.where, size=size)


@check("transforms.compile_dynamic", Level.SHOULD, slow=True)
def compile_dynamic(subject: Subject) -> str:
    """Batches of 4, 3, 5 and 7 samples need two graphs at most: one for the first, one for all others.

    Why: a model that is compiled anew for every size of a batch or length of a sequence spends its time
    compiling, and then gives up.
    Fix: the message has the guard; no Python number that changes with the batch in an attribute.
    Declare: an exemption.
    """
    _ = subject.output_axes  # skips a model that takes one batch size only
    graphs: list[GraphModule] = []

    def backend(graph: GraphModule, example: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    with _compiler():
        model = torch.compile(subject.model, backend=backend, fullgraph=True)  # pyright: ignore[reportUnknownMemberType]
        for size in SIZES:
            batch = subject.batch(size)
            expected = subject.outputs(batch)
            with refuse_recompiling(len(graphs) >= 2):
                try:
                    found = worst(_traced(subject, model, batch), expected)
                except Failure as failure:
                    reason = _guards(failure.error)
                    if not reason:
                        raise Skip(f"not one graph, see transforms.compile: {failure.what}") from None
                    what = f"a batch of {size} needs a third graph"
                    raise Failure(what, where=reason, error=failure.error) from None
            if found is not None and found.error > FLOAT32_LIMIT:
                what = f"the compiled model gives another output for a batch of {size}"
                limit = f"{found.error:.1e} of the largest value (limit {FLOAT32_LIMIT:.0e})"
                raise Failure(what, where=found.where, size=limit)
    return f"{len(graphs)} graphs for batches of {', '.join(map(str, SIZES))}"


@check("transforms.export", Level.SHOULD, slow=True)
def exported(subject: Subject, *, tolerance: float = 1e-4) -> None:
    """`torch.export` with a dynamic batch gives a program that gives the same values for another batch size.

    Why: serving, mobile run times, quantisation and ONNX start from an exported program.
    Fix: the message has the line, or the size that became a constant; take sizes from tensors in forward.
    Declare: an exemption.
    """
    program = _export(subject)
    other = subject.batch(3)
    expected = subject.outputs(other)
    try:
        ours = _with_seed(subject, lambda: program.module()(*other.args, **other.kwargs))
    except Exception as error:
        raise Failure(
            f"the exported program does not take a batch of 3: {_first(error)}", error=error
        ) from error
    _close(ours, expected, tolerance, "the exported program")


@check("transforms.onnx", Level.CAPABILITY, slow=True, opt_in=True)
def onnx(subject: Subject, *, tolerance: float = 1e-3) -> None:
    """The model as ONNX, with a dynamic batch, gives the same values in ONNX Runtime.

    Needs the packages onnx, onnxscript and onnxruntime.

    Why: it is how models get into other run times and languages.
    Fix: see `transforms.export`; an operation that ONNX lacks is named.
    Declare: by `supports=`, which also turns the check on.
    """
    _needs("onnx", "onnxscript", "onnxruntime")
    import onnxruntime  # pyright: ignore

    program = _export(subject)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        try:
            torch.onnx.export(program, f=path, dynamo=True, verbose=False)  # pyright: ignore[reportUnknownMemberType]
        except Exception as error:
            raise Failure(f"torch.onnx.export raised {_first(_root(error))}", error=error) from error
        session: Any = onnxruntime.InferenceSession(path.read_bytes())  # pyright: ignore
    other = subject.batch(3)
    expected = subject.outputs(other)
    names = [entry.name for entry in session.get_inputs()]
    feeds = dict(zip(names, (tensor.detach().numpy() for tensor in other.tensors), strict=True))
    values = cast("list[Any]", session.run(None, feeds))
    ours = [Leaf(leaf.path, torch.as_tensor(v)) for leaf, v in zip(expected, values, strict=True)]
    _close(ours, expected, tolerance, "ONNX Runtime")


@check("transforms.aoti", Level.CAPABILITY, slow=True, opt_in=True)
def aoti(subject: Subject, *, tolerance: float = 1e-3) -> None:
    """The model compiled ahead of time by AOTInductor, with a dynamic batch, gives the same values.

    Needs a C++ compiler, and takes a minute.

    Why: the package runs without Python.
    Fix: see `transforms.export`.
    Declare: by `supports=`, which also turns the check on.
    """
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        raise Skip("needs a C++ compiler: none of g++, clang++ and cl is on the path")
    program = _export(subject)
    other = subject.batch(3)
    expected = subject.outputs(other)
    with tempfile.TemporaryDirectory() as folder, _compiler():
        try:
            package = compile_ahead_of_time(program, str(Path(folder, "model.pt2")))
            ours = detached(package(*other.args, **other.kwargs))
        except Exception as error:
            raise Failure(f"AOTInductor raised {_first(error)}", error=error) from error
    _close(ours, expected, tolerance, "AOTInductor")


def _export(subject: Subject) -> torch.export.ExportedProgram:
    """Export the model in eval mode, the batch axis of every input dynamic where there is one."""
    batch = subject.batch()
    subject.model.eval()
    dynamic = _dynamic_shapes(subject.model, batch) if batch.size is not None else None
    try:
        with torch.no_grad():
            return torch.export.export(
                subject.model, batch.args, batch.kwargs, dynamic_shapes=dynamic, strict=False
            )
    except Exception as error:
        raise Failure(f"torch.export raised {_first(error)}", where=_user_code(error), error=error) from error


def _dynamic_shapes(model: nn.Module, batch: Arguments) -> dict[str, Any]:
    """Return what `torch.export` wants: the dynamic axes of every tensor, by the parameters of forward."""
    dimension = torch.export.Dim("batch", min=1)
    axes = iter(batch.axes)

    def spec(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return None
        axis = next(axes)
        return None if axis is None else {axis: dimension}

    args, kwargs = pytree.tree_map(spec, (batch.args, batch.kwargs))
    return inspect.signature(model.forward).bind(*args, **kwargs).arguments


def _traced(subject: Subject, model: Callable[..., Any], batch: Arguments) -> list[Leaf]:
    subject.model.eval()
    try:
        return _with_seed(subject, lambda: model(*batch.args, **batch.kwargs))
    except Exception as error:
        raise Failure(
            f"torch.compile raised {_first(error)}", where=_user_code(error), error=error
        ) from error


def _with_seed(subject: Subject, function: Callable[[], Any]) -> list[Leaf]:
    seed_everything(subject.seed)
    with torch.no_grad():
        return detached(function())


def _close(ours: list[Leaf], expected: list[Leaf], tolerance: float, who: str) -> None:
    found = worst(ours, expected)
    if found is not None and found.error > tolerance:
        size = f"{found.error:.1e} of the largest value (limit {tolerance:.0e})"
        raise Failure(f"{who} gives another output for a batch of 3", where=found.where, size=size)


def _needs(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Skip(f"needs {', '.join(missing)}: pip install {' '.join(missing)}")


def _first(error: BaseException, most: int = 300) -> str:
    """Return the first paragraph of a message: what torch adds are stacks, links and its own settings."""
    text = " ".join(str(error).strip().partition("\n\n")[0].split())
    text = text.replace('For more information, run with TORCH_LOGS="+dynamic". - ', "")
    return f"{type(error).__name__}: {text[:most]}{'...' if len(text) > most else ''}"


def _root(error: BaseException) -> BaseException:
    """Return the exception that started it."""
    return error if error.__cause__ is None else _root(error.__cause__)


def _user_code(error: BaseException) -> str:
    """Return the innermost line of the user's code that a message of the compiler or its traceback has."""
    lines = [line.strip() for line in str(error).splitlines()]
    frames = [i for i, line in enumerate(lines) if line.startswith("File ") and "/torch/" not in line]
    return f"{lines[frames[-1]]}: {lines[frames[-1] + 1]}" if frames and frames[-1] + 1 < len(lines) else ""


def _guards(error: BaseException | None) -> str:
    """Return the guards that failed, as the compiler lists them when it is not to compile again."""
    if type(error).__name__ != "RecompileError":  # of a private module of torch
        return ""
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()]
    guards = [line.partition(" (HINT")[0] for line in lines if line[:1].isdigit()]
    return "; ".join(" ".join(guard.split()) for guard in guards)
