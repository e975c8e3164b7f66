"""What is no longer what `export` wrote is refused when it is loaded, in every format."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tinynets as tn
from tinynets._export import exported_contract

pytestmark = pytest.mark.xdist_group("export")

FORMATS = ["pt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("onnx", "aoti"))]
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copy(request.getfixturevalue(request.param), tmp_path))


def change(path: Path, edit: Edit | None, *, seal: bool = False) -> None:
    """Edit the contract in a file, or take it out; `seal` computes its checksum anew, as a forger would."""

    def changed(text: str) -> str:
        envelope = json.loads(text)
        edit(envelope)
        if seal:
            envelope["sha256"] = exported_contract._digest(envelope["contract"])
        return json.dumps(envelope)

    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        entry = next(entry for entry in model.metadata_props if entry.key == "tinynets")
        if edit is None:
            model.metadata_props.remove(entry)
        else:
            entry.value = changed(entry.value)
        path.write_bytes(model.SerializeToString())
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if name.endswith("extra/tinynets.json"):
                if edit is None:
                    continue
                content = changed(content.decode()).encode()
            elif name.endswith("_metadata.json"):
                facts = json.loads(content)
                text = facts.pop("tinynets")
                content = json.dumps(facts if edit is None else {**facts, "tinynets": changed(text)}).encode()
            archive.writestr(name, content)


def test_a_file_that_was_only_rewritten_still_loads(path: Path) -> None:
    """Otherwise the tests below would say nothing about the contract."""
    change(path, lambda envelope: None)
    assert tn.load_exported(path)(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_a_truncated_file(path: Path) -> None:
    content = path.read_bytes()
    for length in (len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(tn.CheckpointError, match="is no whole archive|nor a whole ONNX file"):
            tn.load_exported(path)


def test_weights_with_one_bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # the weights are most of the file
    path.write_bytes(content)
    with pytest.raises(tn.CheckpointError, match="is damaged: (the checksum of .* is wrong|its weights)"):
        tn.load_exported(path)


def widen(envelope: dict[str, Any]) -> None:
    envelope["contract"]["inputs"][0]["axes"] = "batch 1 28 29"


def test_a_contract_that_was_edited(path: Path) -> None:
    change(path, widen)
    with pytest.raises(tn.CheckpointError, match="the contract in .* is damaged, or was changed by hand"):
        tn.load_exported(path)


EDITS: dict[str, tuple[Edit, str]] = {
    "size": (widen, r"takes images: float32 \[_ 1 28 29\], the program images: float32 \[_ 1 28 28\]"),
    "free": (
        lambda envelope: envelope["contract"]["inputs"][0].update(axes="batch 1 height 28"),
        r"takes images: float32 \[_ 1 _ 28\], the program images: float32 \[_ 1 28 28\]",
    ),
    "dtype": (
        lambda envelope: envelope["contract"]["inputs"][0].update(dtype="float64"),
        r"takes images: float64 \[_ 1 28 28\], the program images: float32 \[_ 1 28 28\]",
    ),
    "rank": (
        lambda envelope: envelope["contract"]["inputs"][0].update(axes="batch 784"),
        r"takes images: float32 \[_ 784\], the program images: float32 \[_ 1 28 28\]",
    ),
    "classes": (
        lambda envelope: envelope["contract"]["sizes"].update(num_classes=11),
        r"returns output: float32 \[_ 11\], the program output: float32 \[_ 10\]",
    ),
    "count": (
        lambda envelope: envelope["contract"]["inputs"].append(envelope["contract"]["outputs"][0]),
        "takes 2 tensors, the program 1",
    ),
}


@pytest.mark.parametrize("format", FORMATS[:2])
@pytest.mark.parametrize("kind", EDITS)
def test_a_contract_that_was_edited_with_care_differs_from_the_program(
    request: pytest.FixtureRequest, tmp_path: Path, format: str, kind: str
) -> None:
    path = Path(shutil.copy(request.getfixturevalue(format), tmp_path))
    edit, difference = EDITS[kind]
    change(path, edit, seal=True)
    kept = "holds a program and a contract that differ, so one was changed:\n  the contract "
    with pytest.raises(tn.CheckpointError, match=kept + difference):
        tn.load_exported(path)


@pytest.mark.slow
def test_machine_code_tells_only_the_number_of_tensors(aoti: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(aoti, tmp_path))
    change(path, EDITS["count"][0], seal=True)
    with pytest.raises(tn.CheckpointError, match=EDITS["count"][1]):
        tn.load_exported(path)
    shutil.copy(aoti, path)
    change(path, EDITS["classes"][0], seal=True)
    loaded = tn.load_exported(path)
    with pytest.raises(tn.ShapeError, match="returned axis 1 = 10, expected num_classes = 11"):
        loaded(torch.rand(2, 1, 28, 28))


def test_a_newer_format(path: Path) -> None:
    def edit(envelope: dict[str, Any]) -> None:
        envelope["format_version"] = 2
        envelope["contract"] = {"library_version": "9.1", "whatever": "comes"}

    change(path, edit)
    with pytest.raises(tn.CheckpointError) as caught:
        tn.load_exported(path)
    assert str(caught.value) == (
        f"{path} was exported by tinynets 9.1 in format 2; this is {tn.__version__}, which reads up to 1. "
        "Upgrade tinynets, or run the file without it"
    )


def test_a_file_without_a_contract(path: Path) -> None:
    change(path, None)
    with pytest.raises(tn.CheckpointError) as caught:
        tn.load_exported(path)
    assert str(caught.value) == (
        f"{path} has no contract of tinynets: it may be a program, but not one that tinynets.export wrote. "
        "Export the model anew, or run the file without tinynets"
    )


@pytest.mark.parametrize(
    "axes", ["batch 1 28 print(1)", "batch 1 28 {print(1)}", "*batch", "batch 1 28 9**9"]
)
def test_a_contract_brings_no_code_along(pt2: Path, tmp_path: Path, axes: str) -> None:
    path = Path(shutil.copy(pt2, tmp_path))
    change(path, lambda envelope: envelope["contract"]["inputs"][0].update(axes=axes), seal=True)
    with pytest.raises(tn.CheckpointError, match="is damaged, or was changed by hand"):
        tn.load_exported(path)


def test_what_is_no_export_at_all(tmp_path: Path, model: tn.Module) -> None:
    with pytest.raises(FileNotFoundError, match="no file at"):
        tn.load_exported(tmp_path / "nothing.pt2")
    torch.save(model.state_dict(), tmp_path / "weights.pt2")
    with pytest.raises(tn.CheckpointError, match="has no contract of tinynets"):
        tn.load_exported(tmp_path / "weights.pt2")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 9])
def test_bytes_that_are_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(
        tn.CheckpointError,
        match="is neither an archive of torch nor a whole ONNX file|has no contract of tinynets",
    ):
        tn.load_exported(tmp_path / "model.onnx")


def test_a_missing_package_is_named_with_the_remedy(
    model: tn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        tn.export(model, tmp_path / "model.onnx")
    assert str(caught.value) == "ONNX files need onnx: pip install 'tinynets[onnx]'"
