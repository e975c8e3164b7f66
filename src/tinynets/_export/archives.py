"""The `.pt2` archives of the formats `"pt2"` and `"aoti"`: written, read and opened, where the contract is in
each (`extra/tinynets.json`, the metadata), and the error for a damaged one.
"""

# The types of torch.export are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from .._torch.tracing.inductor import compile_to_package, load_package
from ..errors import CheckpointError
from .exported_contract import KEY
from .loaded_program import LoadedProgram, TensorInfo
from .programs import Program

_EXTRA = f"/extra/{KEY}.json"
_COMPILED = "/data/aotinductor/model/"


def pt2_to_bytes(program: Program) -> bytes:
    """Write a program as `torch.export.save` does, with the contract as an extra file."""
    buffer = io.BytesIO()
    extra = {f"{KEY}.json": program.signature.to_json()}
    torch.export.save(program.exported, buffer, extra_files=extra)
    return buffer.getvalue()


def aoti_to_bytes(program: Program) -> bytes:
    """Compile a program with AOTInductor, with the contract in the metadata of the package."""
    with TemporaryDirectory() as folder:
        package = os.path.join(folder, "model.pt2")
        compile_to_package(program.exported, package, {KEY: program.signature.to_json()})
        return Path(package).read_bytes()


def read_archive(path: Path) -> tuple[bool, str | None]:
    """Return whether an archive is compiled, and the text of its contract, without running anything.

    Raises:
        CheckpointError: the archive is truncated or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            names = archive.namelist()
            extra = next((name for name in names if name.endswith(_EXTRA)), None)
            facts = next((n for n in names if _COMPILED in n and n.endswith("_metadata.json")), None)
            text = archive.read(extra).decode() if extra else None
            if facts:
                text = json.loads(archive.read(facts)).get(KEY)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is no whole archive: {error}") from None
    if broken:
        raise CheckpointError(f"{path} is damaged: the checksum of {broken} in it is wrong")
    return facts is not None, text


def open_pt2(path: Path) -> LoadedProgram:
    """Load a program, which runs operation by operation."""
    exported = torch.export.load(path)
    module = exported.module()
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    signature = exported.graph_signature
    return LoadedProgram(
        lambda inputs: module(*inputs),
        [_info(values[str(name)]) for name in signature.user_inputs],
        [_info(values[str(name)]) for name in signature.user_outputs],
    )


def open_aoti(path: Path) -> LoadedProgram:
    """Load a compiled library, which knows the number of its tensors but not their shapes."""
    run, taken, returned = load_package(str(path))
    return LoadedProgram(run, [TensorInfo()] * taken, [TensorInfo()] * returned)


def _info(value: torch.Tensor) -> TensorInfo:
    sizes: list[Any] = list(value.shape)
    shape = tuple(size if isinstance(size, int) else None for size in sizes)
    return TensorInfo(dtype=str(value.dtype).removeprefix("torch."), shape=shape)
