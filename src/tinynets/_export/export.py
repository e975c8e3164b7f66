"""`tn.export`: its formats and suffixes, the paths that it refuses, and the atomic write; axes and names in
the file are chosen in `programs.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from torch import nn

from .._torch.modules.wrappers import unwrapped
from .._torch.tracing.torch_warnings import ignored_torch_deprecations
from ..atomic_write import check_destination, write_atomically
from ..inputs.model_argument import require_module

Format = Literal["pt2", "aoti", "onnx"]
_SUFFIXES: dict[Format, str] = {"pt2": ".pt2", "aoti": ".pt2", "onnx": ".onnx"}


def export(
    model: nn.Module, path: str | os.PathLike[str], *inputs: Any, format: Format | None = None
) -> None:
    """Write a model to a file that runs without tinynets, with its contract inside.

    The model is exported in eval mode; the mode of each submodule is restored. Every axis that the contract
    names stays free in the file, unless it is an attribute of the model or is given as a number:
    `"batch 3 32 32"`. The file is written atomically.

    Args:
        model: any `nn.Module`; the program runs on its device.
        path: ends in `.pt2` or `.onnx`.
        inputs: the arguments of `forward`, as for `explain`: tensors, shapes such as `"batch 3 32 32"` or
            `"batch tokens=77 64"` (any number of tokens, traced with 77), or nothing if `forward` is
            annotated. Further arguments keep their defaults.
        format: `"pt2"` is a program for `torch.export.load`; `"aoti"` a library that AOTInductor compiles for
            this machine (requires a C++ compiler); `"onnx"` is for ONNX Runtime and others (requires
            `tinynets[onnx]`). None chooses `"pt2"` or `"onnx"` by the suffix.

    Raises:
        TypeError: the model is not a module, or the shapes of the inputs are unknown.
        ValueError: an unknown format or suffix, or an axis for which torch can export only one size.
        ShapeError, DtypeError, ContractError: the inputs do not fit the contract.
        ModuleNotFoundError: a package for ONNX is missing.
        FileNotFoundError, IsADirectoryError: the folder does not exist, or the path is a folder.
        Exception: any error of the model for these inputs.

    Examples:
        >>> tn.export(model, "model.pt2")
        >>> program = tn.load_exported("model.pt2")
        >>> program(images).shape
        torch.Size([2, 10])
    """
    require_module(model, "export")
    if format is not None and format not in _SUFFIXES:
        raise ValueError(f'format is "pt2", "aoti" or "onnx", got {format!r}')
    path = Path(path)
    wanted = [_SUFFIXES[format]] if format else [".pt2", ".onnx"]
    if path.suffix not in wanted:
        raise ValueError(f"the path of an export ends in {' or '.join(wanted)}, got {path.name!r}")
    check_destination(path)
    chosen = format or ("onnx" if path.suffix == ".onnx" else "pt2")
    # Lazy, since these imports take a second, or are not installed.
    if chosen == "onnx":
        from .onnx_file import require_onnx, to_bytes

        require_onnx()
    else:
        from .archives import aoti_to_bytes, pt2_to_bytes

        to_bytes = pt2_to_bytes if chosen == "pt2" else aoti_to_bytes
    from .programs import program_of

    with ignored_torch_deprecations():
        content = to_bytes(program_of(unwrapped(model), inputs))
    write_atomically(path, content)
