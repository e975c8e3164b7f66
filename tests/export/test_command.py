"""`tinynets export`."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinynets as tn
from tinynets.cli import main

from . import nets

pytestmark = pytest.mark.xdist_group("export")


def test_saved_weights_become_a_program(
    model: tn.models.ImageClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, program = tmp_path / "model.safetensors", tmp_path / "model.pt2"
    model.save(weights)
    assert main(["export", str(weights), "--to", str(program)]) == 0
    assert capsys.readouterr().out == (
        f"{program}: TinyVisionMLP(images: float32 [batch 1 28 28]) -> float32 [batch num_classes]\n"
    )
    nets.agree(tn.load_exported(program), model, nets.images_for(model, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny_vision_mlp", "--to", "model.bin"], "ends in .pt2 or .onnx, got 'model.bin'"),
        (["nothing.safetensors", "--to", "model.pt2"], "no file at nothing.safetensors"),
        (["resnet21", "--to", "model.pt2"], "no model is called 'resnet21'"),
        (["tiny_vision_mlp", "--to", "model.pt2", "--input", "batch 3 28 28"], "axis 1 is 3, expected 1"),
        (["torch.nn:Identity", "--to", "model.pt2"], "does not say what shape 'input' has"),
    ],
)
def test_what_does_not_work_is_said_in_one_line_or_the_contract_s(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
