"""A file of weights knows its model, and says clearly when it does not fit."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import tinynets as tn
from tinynets import checkpoint
from tinynets._torch.modules.wrappers import strip_prefixes
from tinynets.checkpoint import CheckpointError, Normalization
from tinynets.models import CifarResNet, LeNet5, load

from ..zoo_names import SWEPT
from .weight_file_edits import rewrite

QUICK = ("tiny_vision_mlp", "lenet5", "resnet20", "simple_vit", "cct_2_3x2")
CIFAR10 = Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
MNIST = Normalization(mean=(0.1307,), std=(0.3081,))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SWEPT]
)
def test_a_saved_model_comes_back_bit_for_bit(name: str, tmp_path: Path, zoo: Any):
    model = zoo.build(name, num_classes=7)
    model.normalization = normalization = MNIST if zoo.size(name) == 28 else CIFAR10
    checkpoint.save(model, tmp_path / "model.safetensors")
    state = torch.get_rng_state()
    loaded = load(tmp_path / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), state), "loading draws no random numbers"
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert loaded.normalization == normalization
    assert not loaded.training
    before, after = model.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]
    images = zoo.images(model, zoo.size(name))
    with torch.no_grad():
        assert torch.equal(model.eval()(images), loaded(images))


def test_layout_dtype_and_wrappers_do_not_matter(tmp_path: Path, zoo: Any):
    model = zoo.build("resnet20").to(memory_format=torch.channels_last)
    for name, wrapped in {
        "channels_last": model,
        "compiled": torch.compile(model, backend="eager"),
        "parallel": nn.DataParallel(model),
    }.items():
        checkpoint.save(wrapped, tmp_path / name)
        loaded = load(tmp_path / name)
        assert torch.equal(loaded.conv1.weight, model.conv1.weight)
    checkpoint.save(model.bfloat16(), tmp_path / "half")
    assert load(tmp_path / "half").conv1.weight.dtype == torch.bfloat16


class Tied(nn.Module):
    """Two layers that share a weight, and a table that is computed rather than stored."""

    table: torch.Tensor

    def __init__(self, *, width: int = 4):
        super().__init__()
        self.width = width
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.register_buffer("table", torch.arange(width), persistent=False)


def test_shared_weights_are_stored_once_and_stay_shared(tmp_path: Path):
    model = Tied(width=6)
    checkpoint.save(model, tmp_path / "tied")
    assert set(load_file(tmp_path / "tied")) == {"first.weight", "first.bias", "second.bias"}
    loaded = checkpoint.load(Tied, tmp_path / "tied")
    assert loaded.width == 6
    assert loaded.second.weight is loaded.first.weight
    assert torch.equal(loaded.first.weight, model.first.weight)
    assert torch.equal(loaded.table, torch.arange(6))


def test_constructor_arguments_must_be_kept_and_plain(tmp_path: Path):
    class Forgetful(nn.Module):
        def __init__(self, *, width: int = 4):
            super().__init__()

    class Fancy(nn.Module):
        def __init__(self, *, activation: Any = torch.relu):
            super().__init__()
            self.activation = activation

    with pytest.raises(CheckpointError, match=r"takes 'width', so keep it as self\.width"):
        checkpoint.save(Forgetful(), tmp_path / "file")
    with pytest.raises(CheckpointError, match="must be plain data to be saved"):
        checkpoint.save(Fancy(), tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(lenet: Path, monkeypatch: pytest.MonkeyPatch):
    before = lenet.read_bytes()

    def full(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(LeNet5(num_classes=3), lenet)
    assert lenet.read_bytes() == before
    assert [path.name for path in lenet.parent.iterdir()] == [lenet.name]


def test_equal_models_give_equal_files(lenet: Path, tmp_path: Path):
    for _ in range(5):  # a random order of the header's entries would differ sooner or later
        checkpoint.save(LeNet5(generator=torch.Generator().manual_seed(0)), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == lenet.read_bytes()


def test_the_file_can_be_read_like_any_other(lenet: Path):
    plain = lenet.parent / "plain"
    plain.write_text("")
    assert stat.S_IMODE(lenet.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    header = checkpoint.read_header(lenet)
    assert (header.class_name, header.library_version) == ("LeNet5", tn.__version__)
    assert header.config == {"image_size": 28, "in_channels": 1, "num_classes": 10}
    assert header.normalization is None


@pytest.mark.parametrize("length", [0, 4, 8, 100, 5_000, -1])
def test_a_truncated_file_is_refused(lenet: Path, length: int):
    lenet.write_bytes(lenet.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="is no whole safetensors file"):
        load(lenet)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": "3", "library_version": "9.9"}, r"written by tinynets 9\.9 in format 3.*Upgrade"),
        ({"library": None}, "has no tinynets header"),
        ({"format_version": "x"}, "has no tinynets header"),
        ({"format_version": "9" * 5000}, "has no tinynets header"),
        ({"class": "os.system"}, r"holds a 'os\.system', which is no model of tinynets"),
        ({"class": "LeNet"}, "did you mean 'LeNet5'"),
        ({"class": None}, r"header of .* is damaged: KeyError\('class'\)"),
        ({"config": "{"}, "header of .* is damaged"),
        ({"config": "[1]"}, "header of .* is damaged"),
        ({"config": "[" * 100_000}, "header of .* is damaged: RecursionError"),
        ({"config": '{"num_classes": NaN}'}, "header of .* is damaged: .*NaN is no number of JSON"),
        ({"config": '{"num_classes": %s}' % ("9" * 5000)}, "header of .* is damaged: ValueError"),
        ({"config": '{"depth": 3}'}, "asks for a LeNet5 that cannot be built: .*unexpected keyword"),
        ({"config": '{"image_size": 1}'}, "cannot be built: image_size must be at least 16"),
        ({"config": '{"num_classes": 9}'}, r"misshapen head.weight: \[10, 84\] where \[9, 84\] is expected"),
        ({"config": '{"num_classes": 1000000000}'}, "misshapen head.weight"),
        ({"config": '{"num_classes": 1000000000000000000000000000000}'}, "LeNet5 that cannot be built"),
        ({"config": '{"image_size": 1000000000}'}, "LeNet5 that cannot be built|misshapen"),
        ({"mean": "[0.5]", "std": "[0]"}, "header of .* is damaged: .*std above 0"),
        ({"mean": "[0.5]"}, r"header of .* is damaged: KeyError\('std'\)"),
        ({"mean": "[NaN]", "std": "[1]"}, "header of .* is damaged: .*NaN is no number of JSON"),
        ({"mean": "[1e999]", "std": "[1]"}, "header of .* is damaged: .*must be finite"),
        ({"mean": '"12"', "std": "[1, 2]"}, "header of .* is damaged: .*list expected"),
        (
            {"mean": str([0.5] * 100_000), "std": str([0.5] * 100_000)},
            "normalization has 100000 numbers for mean and std, and LeNet5 takes images of in_channels=1",
        ),
        ({"computed_buffers": '{"x": "save"}'}, "header of .* is damaged: .*torch has no dtype 'save'"),
    ],
)
def test_a_tampered_header_is_refused(lenet: Path, changes: dict[str, str | None], message: str):
    with pytest.raises(CheckpointError, match=message) as caught:
        load(rewrite(lenet, **changes))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_weights_without_a_header_are_refused(tmp_path: Path):
    save_file(LeNet5().state_dict(), tmp_path / "bare")
    with pytest.raises(
        CheckpointError, match="has no tinynets header: it holds weights, but not of which model"
    ):
        load(tmp_path / "bare")
    with pytest.raises(FileNotFoundError, match="no file at"):
        load(tmp_path / "absent")
    (tmp_path / "pickle").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointError, match="is no whole safetensors file"):
        load(tmp_path / "pickle")


def test_a_class_loads_only_its_own_files(lenet: Path):
    assert type(checkpoint.load(LeNet5, lenet)) is LeNet5
    with pytest.raises(CheckpointError, match="holds a LeNet5, not a CifarResNet"):
        checkpoint.load(CifarResNet, lenet)


def test_loading_weights_is_strict_and_names_every_key():
    model = LeNet5()
    weights = dict(model.state_dict())
    del weights["conv1.bias"]
    weights["extra"] = torch.zeros(2)
    weights["fc1.weight"] = torch.zeros(3, 4)
    with pytest.raises(CheckpointError) as caught:
        model.with_weights(weights)
    assert str(caught.value).splitlines() == [
        "the state dict does not fit LeNet5:",
        "  missing conv1.bias [6]",
        "  unexpected extra [2]",
        "  misshapen fc1.weight: [3, 4] where [120, 400] is expected",
    ]
    with pytest.raises(CheckpointError, match="and 2 more"):
        model.with_weights({})


def test_prefixes_of_wrappers_are_taken_off_but_only_from_all_names():
    weights = LeNet5().state_dict()
    assert set(strip_prefixes({f"module._orig_mod.{k}": v for k, v in weights.items()})) == set(weights)
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert strip_prefixes(mixed) == mixed
    assert strip_prefixes({}) == {}


def test_normalization_is_checked():
    assert Normalization([1], [2]).mean == (1.0,)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one number per channel"):
        Normalization((0.5,), (0.5, 0.5))
    with pytest.raises(ValueError, match="must be finite"):
        Normalization((float("nan"),), (0.5,))


def test_a_normalization_that_could_not_be_loaded_is_not_saved(tmp_path: Path):
    model = LeNet5()
    model.normalization = CIFAR10
    with pytest.raises(
        CheckpointError, match="normalization has 3 numbers .* LeNet5 takes images of in_channels=1"
    ):
        model.save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_layer_called_normalization_is_a_layer(tmp_path: Path):
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normalization = nn.BatchNorm2d(2)

    checkpoint.save(Normed(), tmp_path / "file")
    assert isinstance(checkpoint.load(Normed, tmp_path / "file").normalization, nn.BatchNorm2d)
