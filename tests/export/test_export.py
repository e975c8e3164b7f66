"""What `export` writes keeps the contract of the model: `.pt2` programs, which need nothing but torch."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets import atomic_write
from tinynets._export.loaded_program import Exported

from . import nets

pytestmark = pytest.mark.xdist_group("export")


def test_logits_are_those_of_the_model_at_every_batch(model: tn.Module, pt2: Path) -> None:
    nets.agree(tn.load_exported(pt2), model, *(nets.images_for(model, batch) for batch in (1, 3, 7)))


def test_an_export_is_in_eval_mode_and_every_flag_is_put_back(tmp_path: Path) -> None:
    model = nets.Tagger()
    model.head.eval()
    state = torch.get_rng_state()
    tn.export(model, tmp_path / "tagger.pt2")
    assert model.training
    assert model.drop.training
    assert not model.head.training
    assert torch.equal(torch.get_rng_state(), state)
    ids = torch.randint(50, (3, 5))
    with tn.inference(model):
        expected = model(ids)
    first, second = tn.load_exported(tmp_path / "tagger.pt2")(ids)  # dropout would show
    torch.testing.assert_close((first, second), expected)
    assert not first.requires_grad


def test_the_file_says_what_it_holds(model: tn.Module, pt2: Path) -> None:
    loaded = tn.load_exported(pt2)
    signature = loaded.signature
    assert loaded.format == "pt2"
    assert repr(loaded) == (
        "Exported(pt2, TinyVisionMLP(images: float32 [batch 1 28 28]) -> float32 [batch num_classes])"
    )
    assert signature.class_name == "TinyVisionMLP"
    assert signature.config == {"hidden": 256, "num_classes": 10, "dropout": 0.1}
    assert signature.normalization is None
    assert signature.sizes == {"num_classes": 10}
    assert signature.ranges == {"batch": (0, None)}
    assert signature.library_version == tn.__version__


def test_the_file_does_not_say_where_it_was_made(model: tn.Module, pt2: Path, tmp_path: Path) -> None:
    here = str(Path(tn.__file__).parent).encode()
    program = torch.export.export(model, (nets.images_for(model, 2),))
    torch.export.save(program, tmp_path / "torch.pt2")  # by torch alone, it tells

    def tells(path: Path) -> bool:
        with zipfile.ZipFile(path) as archive:
            return any(here in archive.read(name) for name in archive.namelist())

    assert tells(tmp_path / "torch.pt2")
    assert not tells(pt2)


def test_normalization_travels_along(tmp_path: Path) -> None:
    model = nets.trained("tiny_vision_mlp")
    model.normalization = tn.Normalization((0.13,), (0.31,))
    tn.export(model, tmp_path / "model.pt2")
    assert tn.load_exported(tmp_path / "model.pt2").signature.normalization == model.normalization


@pytest.mark.parametrize("batch", [torch.rand(3, 28, 28, 1), torch.rand(28, 28), torch.rand(3, 1, 28, 27)])
def test_a_wrong_shape_is_refused_in_the_words_of_the_model(
    model: tn.Module, pt2: Path, batch: torch.Tensor
) -> None:
    with pytest.raises(tn.ShapeError) as ours:
        model(batch)
    with pytest.raises(tn.ShapeError) as theirs:
        tn.load_exported(pt2)(batch)
    said = str(ours.value).replace("float  ", "float32", 1)  # a program is of one dtype
    assert str(theirs.value) == said
    assert theirs.value.axis == ours.value.axis
    assert str(pickle.loads(pickle.dumps(theirs.value))) == said


def test_another_dtype_is_refused_even_if_the_model_takes_it(pt2: Path) -> None:
    with pytest.raises(tn.DtypeError) as caught:
        tn.load_exported(pt2)(torch.rand(3, 1, 28, 28).double())
    assert str(caught.value) == (
        "TinyVisionMLP(images): float64, expected float32\n"
        "  expected float32 [batch 1 28 28]\n"
        "  got      float64 [3     1 28 28]\n"
        "  Convert it: images.to(torch.float32)."
    )


def test_what_a_program_returns_is_checked_too(pt2: Path) -> None:
    loaded = tn.load_exported(pt2)
    broken = Exported(loaded.path, "pt2", loaded.signature, lambda inputs: inputs[0].flatten(1))
    with pytest.raises(
        tn.ShapeError, match=r"^TinyVisionMLP returned axis 1 = 784, expected num_classes = 10"
    ):
        broken(torch.rand(3, 1, 28, 28))


def test_arguments_go_by_place_or_name(tmp_path: Path) -> None:
    model = nets.Tagger()
    tn.export(model, tmp_path / "tagger.pt2", "batch tokens", "bool[batch tokens]")
    loaded = tn.load_exported(tmp_path / "tagger.pt2")
    ids, mask = torch.randint(50, (3, 5)), torch.rand(3, 5) > 0.5
    assert str(loaded.signature) == (
        "Tagger(ids: int64 [batch tokens], mask: bool [batch tokens]) -> "
        "float32 [batch num_classes], float32 [batch 2*tokens]"
    )
    with tn.inference(model):
        torch.testing.assert_close(loaded(mask=mask, ids=ids), model(ids, mask))
    with pytest.raises(tn.ShapeError, match=r"Tagger\(mask\): axis 1 is 4, expected tokens = 5"):
        loaded(ids, mask[:, :4])
    with pytest.raises(TypeError, match="missing a required argument: 'mask'"):
        loaded(ids)


@pytest.mark.slow
def test_a_number_for_a_named_axis_makes_it_that_size(tmp_path: Path) -> None:
    model = tn.models.CifarResNet(depth=8)
    tn.export(model, tmp_path / "resnet.pt2", "batch 3 16 16")
    loaded = tn.load_exported(tmp_path / "resnet.pt2")
    assert loaded(torch.rand(1, 3, 16, 16)).shape == (1, 10)
    with pytest.raises(tn.ShapeError) as caught:
        loaded(torch.rand(2, 3, 16, 20))
    assert str(caught.value) == (
        "CifarResNet(images): axis 3 is 20, expected width = 16\n"
        "  expected float32 [batch in_channels height width] = [batch 3 16 16]\n"
        "  got      float32 [2     3           16     20]\n"
        "  in_channels=3 comes from CifarResNet(in_channels=3); height=16 and width=16 come from the export\n"
        "  Resize or crop the images to 16x16."
    )


def test_any_module_is_exported_by_a_shape_with_names(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    tn.export(net, tmp_path / "net.pt2", "batch 3 height=9 width=9")
    loaded = tn.load_exported(tmp_path / "net.pt2")
    assert loaded.signature.config is None
    torch.testing.assert_close(loaded(images := torch.rand(1, 3, 5, 12)), net(images))
    with pytest.raises(tn.ShapeError) as caught:
        loaded(torch.rand(1, 3, 12, 4))
    assert str(caught.value) == (
        "Sequential(input): axis 3 is 4, expected width of at least 5\n"
        "  expected float32 [batch 3 height width]\n"
        "  got      float32 [1 3 12 4]\n"
        "  Outside of it, the layers of the exported program have nothing to work on."
    )


def test_an_axis_that_torch_ties_to_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="torch can export") as caught:
        tn.export(nets.Symmetric(), tmp_path / "net.pt2")
    assert str(caught.value) == (
        "torch can export Symmetric only where columns of 'x' is rows. Give numbers instead of names, as in "
        'export(model, path, "batch rows 32")'
    )
    tn.export(nets.Symmetric(), tmp_path / "net.pt2", "batch 32 32")
    assert tn.load_exported(tmp_path / "net.pt2").signature.sizes == {"columns": 32, "rows": 32}


def test_what_cannot_be_exported_is_refused_with_a_remedy(model: tn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with pytest.raises(TypeError, match=r'as in export\(model, path, "batch 8"\)'):
        tn.export(nn.Linear(8, 2), path, torch.rand(4, 8))
    with pytest.raises(
        TypeError, match="Paired.forward returns Pair, a class that a process without your code"
    ):
        tn.export(nets.Paired(), path)
    with pytest.raises(TypeError, match=r"export\(\) takes a torch.nn.Module, got int"):
        tn.export(3, path)
    with pytest.raises(tn.ShapeError, match="axis 1 is 3, expected 1"):
        tn.export(model, path, "batch 3 28 28")
    with pytest.raises(ValueError, match=r"ends in \.pt2 or \.onnx, got 'model\.bin'"):
        tn.export(model, tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"ends in \.pt2, got 'model\.onnx'"):
        tn.export(model, tmp_path / "model.onnx", format="aoti")
    with pytest.raises(ValueError, match='format is "pt2", "aoti" or "onnx", got \'torchscript\''):
        tn.export(model, path, format="torchscript")
    assert not list(tmp_path.iterdir())


def test_a_model_that_refuses_its_inputs_says_so_itself(model: tn.Module, tmp_path: Path, caplog) -> None:
    """In the sizes of the inputs, where the symbols of the export would stand."""
    with pytest.raises(tn.ShapeError, match=r"got      float32 \[2     1 3  3\]"):
        tn.export(model, tmp_path / "model.pt2", "batch 1 3 3")
    with pytest.raises(RuntimeError, match=r"^mat1 and mat2 shapes cannot be multiplied \(2x4 and 8x2\)$"):
        tn.export(nn.Linear(8, 2), tmp_path / "model.pt2", "batch 4")
    assert not [record for record in caplog.records if record.name.endswith("fake_tensor")]


def test_a_compiled_model_is_exported_as_itself(model: tn.Module, tmp_path: Path) -> None:
    tn.export(torch.compile(model, backend="eager"), tmp_path / "model.pt2")
    assert tn.load_exported(tmp_path / "model.pt2").signature.class_name == "TinyVisionMLP"


def test_a_write_that_fails_leaves_the_old_file(
    model: tn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("old")

    def fail(handle: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(atomic_write.os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        tn.export(model, path)
    assert os.listdir(tmp_path) == ["model.pt2"]
    assert path.read_text() == "old"


def test_the_contract_is_plain_json(pt2: Path) -> None:
    text = torch.export.load(pt2, extra_files=(extra := {"tinynets.json": ""})) and extra["tinynets.json"]
    assert json.loads(text)["contract"]["inputs"] == [
        {"name": "images", "dtype": "float32", "axes": "batch 1 28 28"}
    ]
