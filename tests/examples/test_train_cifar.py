from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinynets as tn

PUBLISHED = pytest.mark.parametrize("cifar", ["python 2"], indirect=True)


def test_loads_every_pixel_and_label_where_it_belongs(example, cifar: Path) -> None:
    data = example("train_cifar").load_cifar(cifar)
    stored = pickle.loads((cifar / "data_batch_2").read_bytes(), encoding="bytes")
    assert data.train_images.shape == (60, 3, 32, 32)
    assert data.train_labels.tolist() == stored[b"labels"] * 5
    assert data.class_names == ["airplane", "automobile", "bird"]
    # Image 3 of the second batch; row 5, column 7 of its green plane, as the format's own page counts.
    assert data.train_images[12 + 3, 1, 5, 7].item() == pytest.approx(
        stored[b"data"][3][1024 + 5 * 32 + 7] / 255
    )
    assert data.held_out_images.shape == (12, 3, 32, 32)


@pytest.mark.slow
@PUBLISHED
def test_does_the_whole_job(example, cifar: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert example("train_cifar").main(["--data", str(cifar), "--out", str(out), "--epochs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "Held-out accuracy: " in printed
    assert "ShapeError" in printed
    assert "in inference 0.0000" in printed
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    model = tn.CifarMLP(num_classes=3)
    model.load_state_dict(example("safetensors.torch").load_file(out / "weights.safetensors"))
    assert sorted(path.name for path in out.iterdir()) == ["report.png", "weights.safetensors"]


@PUBLISHED
def test_a_loss_that_explodes_is_one_clear_line(example, cifar: Path, tmp_path: Path, capsys) -> None:
    options = [
        "--data",
        str(cifar),
        "--out",
        str(tmp_path / "out"),
        "--learning-rate",
        "1e30",
        "--epochs",
        "9",
    ]
    assert example("train_cifar").main(options) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the loss became ")
    assert error.endswith("; try a lower --learning-rate\n")


def edited(path: Path, **changes: Any) -> None:
    """Write a batch again with some of its keys changed, or without those that are None."""
    content = pickle.loads(path.read_bytes(), encoding="bytes")
    content.update({key.encode(): value for key, value in changes.items()})
    path.write_bytes(
        pickle.dumps({key: value for key, value in content.items() if value is not None}, protocol=2)
    )


class Trap:
    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


DAMAGE = {
    "missing": (lambda path: path.unlink(), "is missing"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged: EOFError"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:20_000]), "is damaged: UnpicklingError"),
    "text": (lambda path: path.write_text("<html>404</html>"), "is damaged"),
    "not a dictionary": (lambda path: path.write_bytes(pickle.dumps([1, 2])), "holds no dictionary"),
    "without data": (lambda path: edited(path, data=None), "data is not a uint8 array"),
    "without labels": (lambda path: edited(path, labels=None), "labels is not a list"),
    "no images": (
        lambda path: edited(path, labels=[], data=np.zeros((0, 3072), "u1")),
        "is damaged",
    ),
    "label too high": (lambda path: edited(path, labels=[3] * 12), "a label is not a number from 0 to 2"),
    "label not a number": (
        lambda path: edited(path, labels=["cat"] * 12),
        "a label is not a number from 0 to 2",
    ),
    "other dtype": (lambda path: edited(path, data=np.zeros((12, 3072), "f4")), "data is not a uint8 array"),
    "other shape": (lambda path: edited(path, data=np.zeros((12, 784), "u1")), "data is not a uint8 array"),
    "fewer images": (
        lambda path: edited(path, data=np.zeros((11, 3072), "u1")),
        "not one image for each of 12",
    ),
    "column order": (
        lambda path: edited(path, data=np.asfortranarray(np.zeros((12, 3072), "u1"))),
        "data is not a uint8 array",
    ),
}


@PUBLISHED
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_one_clear_line_for_damage(
    example, cifar: Path, tmp_path: Path, capsys, name: str, damage: str
) -> None:
    break_it, reason = DAMAGE[damage]
    break_it(cifar / name)
    assert example("train_cifar").main(["--data", str(cifar), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {cifar / name} {reason}") or reason in error
    assert str(cifar / name) in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


@PUBLISHED
@pytest.mark.parametrize("names", [None, [], "airplane", [1, 2]])
def test_one_clear_line_for_damaged_names(example, cifar: Path, tmp_path: Path, capsys, names: Any) -> None:
    edited(cifar / "batches.meta", label_names=names)
    assert example("train_cifar").main(["--data", str(cifar), "--out", str(tmp_path / "out")]) == 1
    assert "batches.meta is damaged: label_names is not a list of names" in capsys.readouterr().err


@PUBLISHED
def test_a_malicious_file_runs_nothing(example, cifar: Path, tmp_path: Path, capsys) -> None:
    sprung = tmp_path / "sprung"
    trapped = pickle.dumps({b"data": Trap(sprung)})
    (cifar / "test_batch").write_bytes(trapped)
    assert example("train_cifar").main(["--data", str(cifar), "--out", str(tmp_path / "out")]) == 1
    assert "test_batch is damaged: UnpicklingError: it asks for" in capsys.readouterr().err
    assert not sprung.exists()
    pickle.loads(trapped)
    assert sprung.exists(), "the trap must work on a plain pickle, or this test proves nothing"


def test_the_data_option_is_required(example, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        example("train_cifar").main([])
    assert "--data" in capsys.readouterr().err


def test_accuracy_is_counted_over_all_held_out_images(example) -> None:
    class Constant(tn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.eye(10)[[3] * len(images)]

    logits = example("loop").infer(Constant(), torch.zeros(2500, 1, 28, 28))
    assert logits.argmax(dim=1).tolist() == [3] * 2500
