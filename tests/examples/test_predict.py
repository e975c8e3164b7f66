"""Digits as people have them: photographed, drawn on paper or on a blackboard, large, off-centre, transparent."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import tinynets as tn

from .conftest import EXAMPLES

pytestmark = pytest.mark.slow  # reading the 5,000 digits takes seconds


@pytest.fixture(scope="module")
def data() -> Any:
    """The digits and the split of `digits.py`; the weights were trained on its first part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        return importlib.import_module("digits").load_digits(seed=0)


@pytest.fixture(scope="module")
def digits(data: Any) -> list[tuple[Image.Image, int]]:
    """Twenty held-out digits as white ink on black."""
    pixels = (data.held_out_images[:20, 0] * 255).round().byte().numpy()
    return [
        (Image.fromarray(each), int(label)) for each, label in zip(pixels, data.held_out_labels, strict=False)
    ]


def large(digit: Image.Image) -> Image.Image:
    return digit.resize((300, 300), Image.Resampling.BICUBIC)


def on_a_sheet(digit: Image.Image) -> Image.Image:
    """Dark blue on light paper that is darker on one side, in a corner of a wide picture."""
    sheet = np.linspace(200, 255, 640)[None, :, None].repeat(400, 0).repeat(3, 2)
    drawn = np.asarray(digit.resize((120, 120), Image.Resampling.BICUBIC))[..., None] / 255
    sheet[30:150, 480:600] = (1 - drawn) * sheet[30:150, 480:600] + drawn * np.array([20, 30, 120])
    return Image.fromarray(sheet.astype(np.uint8), "RGB")


def transparent(digit: Image.Image) -> Image.Image:
    """Black ink, and nothing behind it."""
    black = Image.new("L", digit.size, 0)
    return Image.merge("RGBA", (black, black, black, digit))


PICTURES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as MNIST has it": lambda digit: digit,
    "dark on light": ImageOps.invert,
    "large": large,
    "on a sheet": on_a_sheet,
    "transparent": transparent,
    "with a palette": lambda digit: digit.convert("P"),
    "16 bits": lambda digit: Image.fromarray(np.asarray(digit).astype(np.uint16) * 200),
    "black or white": lambda digit: large(digit).convert("1"),
    "CMYK": lambda digit: ImageOps.invert(digit).convert("CMYK"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_of_a_digit(kind: str, digits, example, tmp_path: Path, capsys) -> None:
    paths, suffix = [], ".tif" if kind == "CMYK" else ".png"
    for i, (digit, label) in enumerate(digits):
        paths.append(tmp_path / f"{i}-{label}{suffix}")
        PICTURES[kind](digit).save(paths[-1])
    assert example("predict").main([str(path) for path in paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    right = [f": {digit[1]} (" in line for line, digit in zip(lines, digits, strict=True)]
    assert sum(right) >= 19, lines
    assert lines[0].startswith(f"{paths[0]}: ")
    assert lines[0].endswith("%)")


def test_the_other_model(digits, example, tmp_path: Path, capsys) -> None:
    digit, label = digits[0]
    digit.save(tmp_path / "digit.png")
    assert example("predict").main([str(tmp_path / "digit.png"), "--model", "tiny_vision_mlp"]) == 0
    assert f": {label} (" in capsys.readouterr().out


def test_what_is_no_picture_is_one_line_and_the_others_are_read(
    digits, example, tmp_path: Path, capsys
) -> None:
    digits[0][0].save(tmp_path / "good.png")
    Image.new("L", (30, 30), 7).save(tmp_path / "blank.png")
    Image.new("RGBA", (30, 30)).save(tmp_path / "glass.png")
    (tmp_path / "text.png").write_text("4")
    (tmp_path / "half.png").write_bytes((tmp_path / "good.png").read_bytes()[:150])
    names = ("blank", "glass", "text", "half", "none", "good")
    assert example("predict").main([str(tmp_path / f"{name}.png") for name in names]) == 1
    printed = capsys.readouterr()
    errors = dict(zip(names, printed.err.splitlines(), strict=False))
    assert len(errors) == 5
    assert errors["blank"] == f"error: {tmp_path}/blank.png: all pixels of the picture are equal"
    assert errors["glass"] == f"error: {tmp_path}/glass.png: all of the picture is transparent"
    assert all(errors[name].startswith(f"error: {tmp_path}/{name}.png: ") for name in errors)
    assert f"{tmp_path}/good.png: {digits[0][1]} (" in printed.out


@pytest.mark.parametrize(("name", "least"), [("lenet5", 0.98), ("tiny_vision_mlp", 0.97)])
def test_the_accuracy_that_the_card_promises(name: str, least: float, data, example) -> None:
    assert len(data.held_out_images) == 1000
    normalized = example("pretrain").normalized(data.held_out_images)
    model = tn.create_model(name, pretrained="mnist5k")
    with tn.inference(model):
        right = (model(normalized).argmax(1) == data.held_out_labels).float().mean().item()
    assert right >= least
    card = (Path(tn.models.pretrained.WEIGHTS) / "README.md").read_text()
    (line,) = (line for line in card.splitlines() if line.startswith(f"| `{name}` | `{name}-mnist5k"))
    assert float(line.split("|")[4]) == pytest.approx(right, abs=0.0021)  # two digits on the fence


def test_all_writes_weights_and_their_card(data, example, tmp_path: Path, monkeypatch) -> None:
    module = example("train_digits")
    few = example("data").Data(
        data.train_images[:64],
        data.train_labels[:64],
        data.held_out_images[:50],
        data.held_out_labels[:50],
        data.class_names,
    )
    monkeypatch.setattr(module, "load_digits", lambda *, seed: few)
    assert module.main(["--all", "--epochs", "1", "--out", str(tmp_path)]) == 0
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["README.md", "lenet5-mnist5k.safetensors", "tiny_vision_mlp-mnist5k.safetensors"]
    model = tn.load(tmp_path / written[1])
    assert model.normalization == example("pretrain").NORMALIZATION
    card = (tmp_path / "README.md").read_text()
    assert "--all --epochs 1 --seed 0" in card
    first = f"{model(torch.linspace(0, 1, 784).reshape(1, 1, 28, 28))[0, 0].item():.3f}"
    assert f"| `lenet5` | {first} " in card
