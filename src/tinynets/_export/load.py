"""`tn.load_exported`: how it tells the formats apart, and the `CheckpointError` for a file without a
contract, a program that cannot be loaded, or one that differs from its contract.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from .._torch.tracing.torch_warnings import ignored_torch_deprecations
from ..errors import CheckpointError
from .exported_contract import Signature, TensorSpec, from_json
from .loaded_program import Exported, LoadedProgram, TensorInfo

_ZIP = b"PK\x03\x04"


def load_exported(path: str | os.PathLike[str]) -> Exported:
    """Load a file that `export` wrote, in any format, and enforce the contract in it.

    `load` returns a model that can be trained; this returns a program. The contract is compared with the
    program before anything runs. Trust a `.pt2` file like a Python module: a compiled one is machine code.
    Checksums detect accidents, not attacks.

    Raises:
        CheckpointError: the file is truncated, damaged, changed, newer than this library, or has no contract.
        FileNotFoundError: the file does not exist.
        ModuleNotFoundError: a package for ONNX files is missing.

    Examples:
        >>> tn.export(nn.Linear(784, 10), "linear.pt2", "batch 784")
        >>> tn.load_exported("linear.pt2")(torch.zeros(5, 784)).shape
        torch.Size([5, 10])
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}")
    with path.open("rb") as file:
        archive = file.read(len(_ZIP)) == _ZIP
    # Lazy, since these imports take a second, or are not installed.
    if archive:
        from .archives import open_aoti, open_pt2, read_archive

        compiled, text = read_archive(path)
        signature = _signature(path, text)
        if compiled:
            return _loaded(path, "aoti", signature, lambda: open_aoti(path))
        return _loaded(path, "pt2", signature, lambda: open_pt2(path))
    from .onnx_file import open_onnx, read_onnx

    model, text = read_onnx(path)
    return _loaded(path, "onnx", _signature(path, text), lambda: open_onnx(model))


def _signature(path: Path, text: str | None) -> Signature:
    if text is None:
        raise CheckpointError(
            f"{path} has no contract of tinynets: it may be a program, but not one that tinynets.export "
            "wrote. Export the model anew, or run the file without tinynets"
        )
    return from_json(text, str(path))


def _loaded(
    path: Path, format: str, signature: Signature, open_file: Callable[[], LoadedProgram]
) -> Exported:
    try:
        with ignored_torch_deprecations():
            opened = open_file()
    except Exception as error:  # torch and ONNX Runtime raise all kinds of errors for incomplete programs
        raise CheckpointError(
            f"the program in {path} cannot be loaded: {(str(error).splitlines() or [repr(error)])[0]}"
        ) from error
    differences = _differences("takes", signature, signature.inputs, opened.inputs)
    differences += _differences("returns", signature, signature.outputs, opened.outputs)
    if differences:
        raise CheckpointError(
            f"{path} holds a program and a contract that differ, so one was changed:\n  "
            + "\n  ".join(differences)
        )
    return Exported(path, format, signature, opened.run)


def _differences(
    verb: str, signature: Signature, expected: Sequence[TensorSpec], found: Sequence[TensorInfo]
) -> list[str]:
    """Compare a program with its contract, as far as the file describes its tensors."""
    if len(expected) != len(found):
        return [f"the contract {verb} {len(expected)} tensors, the program {len(found)}"]
    differences: list[str] = []
    for tensor, seen in zip(expected, found, strict=True):
        sizes = signature.fixed_shape(tensor)
        name, dtype, shape = seen.name or tensor.name, seen.dtype or tensor.dtype, seen.shape or sizes
        if verb == "returns" and len(shape) == len(sizes):
            # A program may fix a size that the contract leaves free, but not contradict it.
            shape = tuple(
                b if a is not None and b is not None else a for a, b in zip(sizes, shape, strict=True)
            )
        if (tensor.name, tensor.dtype, sizes) != (name, dtype, shape):
            ours = f"{tensor.name}: {tensor.dtype} {_shape_text(sizes)}"
            differences.append(
                f"the contract {verb} {ours}, the program {name}: {dtype} {_shape_text(shape)}"
            )
    return differences


def _shape_text(shape: Sequence[int | None]) -> str:
    return f"[{' '.join('_' if size is None else str(size) for size in shape)}]"
