"""Every recipe runs, on digits and on images in the format of CIFAR-10, and what can be learned here is learned."""

from __future__ import annotations

import importlib
import pickle
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinynets as tn

pytest.importorskip("torchvision", reason="`make parity` installs it")
pytest.importorskip("mlxtend", reason="`make parity` installs it")
RECIPES = Path(__file__).parents[2] / "examples" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.py") if path.stem != "recipe")


def imported(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPES.parent)
    monkeypatch.syspath_prepend(RECIPES)
    return importlib.import_module(name)


def run(name: str, options: list[object], monkeypatch: pytest.MonkeyPatch) -> int:
    module = imported(name, monkeypatch)
    arguments = [str(option) for option in options]
    return imported("recipe", monkeypatch).run(module.RECIPE, arguments, getattr(module, "train", None))


def cifar(folder: Path) -> Path:
    """Write 10 images of each batch, whose brightness is their class."""
    random = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        labels = list(range(10))
        pixels = (random.integers(0, 20, (10, 3072)) + 23 * np.arange(10)[:, None]).astype(np.uint8)
        (folder / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2))
    names = [f"class {number}".encode() for number in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs(name: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "weights.safetensors"
    assert (
        run(name, ["--data", cifar(tmp_path), "--epochs", 1, "--out", weights, "--bfloat16"], monkeypatch)
        == 0
    )
    said = capsys.readouterr().out
    recipe = imported(name, monkeypatch).RECIPE
    assert f"reported for CIFAR-10: {recipe.accuracy} ({recipe.source})" in said
    model = tn.load(weights)
    assert type(model) is type(tn.create_model(recipe.model))
    assert model.normalization == recipe.normalization


@pytest.mark.parametrize(("name", "options"), [("airbench94", []), ("resnet20", ["--ema", 0.8])])
def test_digits_are_learned(name: str, options: list[object], tmp_path: Path, monkeypatch, capsys) -> None:
    few = ["--digits", "--limit", 512, "--epochs", 8, "--out", tmp_path / "weights"]
    assert run(name, [*few, *options], monkeypatch) == 0
    said = capsys.readouterr().out
    found = re.search(r"^held-out accuracy (\S+)%", said, re.MULTILINE)
    assert found, said
    assert float(found[1]) > 25, said


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch, capsys) -> None:
    assert run("resnet20", ["--data", tmp_path / "none"], monkeypatch) == 1
    assert capsys.readouterr().err.startswith(
        f"error: {tmp_path / 'none' / 'batches.meta'} is missing; unpack "
    )
