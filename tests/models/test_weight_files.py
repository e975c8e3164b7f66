"""A weight file is read once, verified, and gone: what happens to it afterwards changes no model."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import tinynets as tn
from tinynets import checkpoint
from tinynets.models import ConvMixer, LeNet5, SimpleViT
from tinynets.models.registry import MODELS

from ..zoo_names import SWEPT
from .weight_file_edits import read, sign, write

FILES = Path(__file__).parent / "files"
QUICK = ("tiny_vision_mlp", "lenet5", "resnet20", "simple_vit", "cct_2_3x2")


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two models are equal bit for bit, computed buffers and normalisation too."""
    first, second = (
        {**dict(model.named_parameters()), **dict(model.named_buffers())} for model in (one, other)
    )
    return (
        list(first) == list(second)
        and all(first[name].dtype == second[name].dtype for name in first)
        and all(torch.equal(bits(first[name]), bits(second[name])) for name in first)
        and getattr(one, "normalization", None) == getattr(other, "normalization", None)
    )


def bits(tensor: Tensor) -> Tensor:
    """The bytes of a tensor: NaN is equal to itself."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def seeded(seed: int) -> LeNet5:
    return LeNet5(generator=torch.Generator().manual_seed(seed))


# The file and the model are apart.


def test_a_loaded_model_does_not_follow_its_file(lenet: Path, tmp_path: Path):
    other = tmp_path / "other"
    seeded(1).save(other)
    loaded = tn.load(lenet)
    shutil.copyfile(other, lenet)  # in place, as `cp` does
    assert same(loaded, seeded(0))
    assert same(tn.load(lenet), seeded(1))
    os.truncate(lenet, 100)
    assert same(loaded, seeded(0))


def test_every_tensor_has_memory_of_its_own(lenet: Path):
    for tensor in tn.load(lenet).state_dict().values():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


RECORDS: list[list[str]] = []


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if RECORDS and event in ("open", "pickle.find_class", "mmap.__new__"):
        RECORDS[-1].append(f"{event} {arguments[0]}")


@pytest.fixture(scope="module")
def audit_hook() -> None:
    sys.addaudithook(_record)  # which stays for the life of the process


@pytest.mark.parametrize("load", [tn.load, LeNet5.load, checkpoint.read_header])
def test_a_file_is_opened_once_and_holds_no_pickle(lenet: Path, load: Any, audit_hook: None):
    load(lenet)  # what is imported on first use
    events: list[str] = []
    RECORDS.append(events)
    load(lenet)
    RECORDS.clear()
    assert events == [f"open {lenet}"]


def test_weights_and_normalization_are_of_one_file_while_others_save(tmp_path: Path):
    path = tmp_path / "model"
    models = [seeded(seed) for seed in range(2)]
    for seed, model in enumerate(models):
        model.normalization = tn.Normalization((seed / 2,), (1.0,))
    models[0].save(path)
    done = threading.Event()

    def save_in_turn() -> None:
        while not done.is_set():
            for model in models:
                model.save(path)

    writer = threading.Thread(target=save_in_turn)
    writer.start()
    try:
        loaded = [tn.load(path) for _ in range(60)]
    finally:
        done.set()
        writer.join()
    assert all(any(same(one, model) for model in models) for one in loaded)
    assert {one.normalization for one in loaded} == {model.normalization for model in models}


# The digest.


@pytest.mark.parametrize("place", [-1, -1000, -20_000, -150_000])
def test_a_flipped_bit_is_noticed(lenet: Path, place: int):
    content = bytearray(lenet.read_bytes())
    content[place] ^= 1
    lenet.write_bytes(content)
    with pytest.raises(tn.CheckpointError) as caught:
        tn.load(lenet)
    assert str(caught.value) == (
        f"{lenet} is damaged: its SHA-256 is not the one in its header. Copy or save it again"
    )
    assert checkpoint.read_header(lenet).class_name == "LeNet5", "the header is read without the tensors"


def test_a_changed_header_is_noticed(tmp_path: Path):
    path = tmp_path / "vit"
    SimpleViT(depth=1, embed_dim=8, num_heads=2, hidden=8).save(path)
    header, body = read(path)
    header["__metadata__"]["config"] = header["__metadata__"]["config"].replace(
        '"num_heads": 2', '"num_heads": 4'
    )
    write(path, header, body)  # the shapes of all weights are the same
    with pytest.raises(tn.CheckpointError, match="is damaged: its SHA-256 is not the one"):
        tn.load(path)
    del header["__metadata__"]["sha256"]
    write(path, header, body)
    with pytest.raises(tn.CheckpointError, match="is damaged: its header has no SHA-256"):
        tn.load(path)


def test_the_digest_is_what_the_documentation_says(lenet: Path):
    header, body = read(lenet)
    assert sign(header, body) == header
    assert checkpoint.read_header(lenet).sha256 == header["__metadata__"]["sha256"]


@pytest.mark.parametrize(
    ("name", "cls"),
    [("simple_vit-0.1.0.safetensors", SimpleViT), ("convmixer-bfloat16-0.1.0.safetensors", ConvMixer)],
)
def test_files_of_the_first_release_load_with_a_note(name: str, cls: type[tn.Module], tmp_path: Path):
    with pytest.warns(UserWarning, match=r"format of tinynets 0\.1\.0, which has no SHA-256") as caught:
        model = tn.load(FILES / name)
    assert caught[0].filename == __file__
    assert type(model) is cls
    stored = load_file(FILES / name)
    assert sorted(stored) == sorted(model.state_dict())
    assert all(torch.equal(bits(tensor), bits(stored[key])) for key, tensor in model.state_dict().items())
    model.save(tmp_path / "again")
    assert same(tn.load(tmp_path / "again"), model), "saved again, without a note"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_not_finite_need_a_word(lenet: Path, value: str):
    model = seeded(0)
    with torch.no_grad():
        model.conv1.weight[2, 0, 1, 1] = float(value)
    model.save(lenet)
    for load in (tn.load, LeNet5.load):
        with pytest.raises(tn.CheckpointError) as caught:
            load(lenet)
        assert str(caught.value) == (
            f"{lenet} holds 1 values in conv1.weight that are not finite, the first at [2, 0, 1, 1]; "
            "pass allow_nonfinite=True to load it all the same"
        )
        assert same(load(lenet, allow_nonfinite=True), model)


def test_floats_of_one_byte_are_looked_at_too(tmp_path: Path):
    class Tiny(tn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(3).to(torch.float8_e5m2))

    model = Tiny()
    checkpoint.save(model, tmp_path / "file")
    assert same(Tiny.load(tmp_path / "file"), model)
    model.scale = torch.tensor([1.0, float("inf"), 1.0]).to(torch.float8_e5m2)
    checkpoint.save(model, tmp_path / "file")
    with pytest.raises(tn.CheckpointError, match=r"holds 1 values in scale that are not finite"):
        Tiny.load(tmp_path / "file")


# Dtypes.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SWEPT]
)
def test_every_model_survives_in_every_dtype(name: str, dtype: torch.dtype, tmp_path: Path, zoo: Any):
    model = zoo.build(name).to(dtype).eval()
    model.save(tmp_path / "model")
    loaded = tn.load(tmp_path / "model")
    assert same(loaded, model)
    small = 8 in MODELS[name].sizes and "image_size" not in model.config.__dict__
    images = zoo.images(model, 8 if small else zoo.size(name), batch=1).to(dtype)
    with torch.no_grad():
        # Equal but for NaN: 110 untrained layers leave the range of float16.
        torch.testing.assert_close(loaded(images), model(images), rtol=0, atol=0, equal_nan=True)


def test_a_computed_buffer_that_comes_out_differently_is_said(tmp_path: Path):
    model = SimpleViT(depth=1, embed_dim=8, num_heads=2, hidden=8).double()
    with torch.no_grad():
        model.positions += 1e-12
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="positions, which SimpleViT computes when it is built, is not what"):
        loaded = tn.load(tmp_path / "model")
    assert loaded.positions.dtype == torch.float64


def test_a_subclass_may_compute_more_than_its_base(tmp_path: Path):
    class Marked(SimpleViT):
        def __init__(self, *, image_size: int = 8) -> None:
            super().__init__(image_size=image_size, depth=1, embed_dim=8, num_heads=2, hidden=8)
            self.register_buffer("marks", torch.arange(5), persistent=False)

    model = Marked().half()
    model.save(tmp_path / "model")
    assert same(Marked.load(tmp_path / "model"), model.eval())


@pytest.mark.parametrize(("stored", "built"), [("F32", "I32"), ("I64", "F64")])
def test_ints_do_not_stand_for_floats(tmp_path: Path, stored: str, built: str):
    path = tmp_path / "model"
    ConvMixer(channels=4, depth=1).save(path)
    header, body = read(path)
    name = next(name for name, entry in header.items() if entry.get("dtype") == stored)
    header[name]["dtype"] = built
    write(path, sign(header, body), body)
    with pytest.raises(
        tn.CheckpointError, match=rf"does not fit ConvMixer: mistyped {name}: torch\.\w+ where"
    ):
        tn.load(path)


def test_more_names_than_can_be_read_are_not_written(tmp_path: Path):
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for i in range(600):
                self.register_buffer(f"{'buffer' * 1500}{i}", torch.empty(0))

    path = tmp_path / "wide"
    with pytest.raises(
        tn.CheckpointError, match=r"the names of 600 tensors take \d+ bytes; a header of at most"
    ):
        checkpoint.save(Wide(), path)
    assert not path.exists()
