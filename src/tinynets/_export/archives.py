"""The two kinds of `.pt2` archives: a program of torch, and a library compiled by AOTInductor."""

# What torch.export and torch._inductor return has no complete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false, reportAttributeAccessIssue=false
from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import CheckpointError
from .loaded_program import Opened, Seen
from .programs import Program
from .signature import KEY

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
    metadata = {"aot_inductor.metadata": {KEY: program.signature.to_json()}}
    with TemporaryDirectory() as folder:
        package = os.path.join(folder, "model.pt2")
        torch._inductor.aoti_compile_and_package(
            program.exported, package_path=package, inductor_configs=metadata
        )
        return Path(package).read_bytes()


def read_archive(path: Path) -> tuple[bool, str | None]:
    """Return whether an archive is compiled, and the text of its contract; nothing in it is run.

    Raises:
        CheckpointError: it is truncated or damaged.
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


def open_pt2(path: Path) -> Opened:
    """Load a program, which interprets its operations one by one."""
    exported = torch.export.load(path)
    module = exported.module()
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    signature = exported.graph_signature
    return Opened(
        lambda inputs: module(*inputs),
        [_seen(values[str(name)]) for name in signature.user_inputs],
        [_seen(values[str(name)]) for name in signature.user_outputs],
    )


def open_aoti(path: Path) -> Opened:
    """Load a compiled library; it says how many tensors it takes and returns, but not which."""
    model = torch._inductor.aoti_load_package(str(path))
    specs = [pytree.treespec_loads(text) for text in model.loader.get_call_spec()]
    taken, returned = ([Seen()] * spec.num_leaves for spec in specs)
    return Opened(lambda inputs: model(*inputs), taken, returned)


def _seen(value: torch.Tensor) -> Seen:
    sizes: list[Any] = list(value.shape)
    shape = tuple(size if isinstance(size, int) else None for size in sizes)
    return Seen(dtype=str(value.dtype).removeprefix("torch."), shape=shape)
