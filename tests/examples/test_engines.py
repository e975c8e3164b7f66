"""The same model in Lightning Fabric and in Accelerate: their loops leave modes and frozen parts as they should be."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import tinynets as tn
from tinynets.models import ImageClassifier

from .conftest import EXAMPLES
from .groups import run_group

NUM_IMAGES, BATCH, EPOCHS = 32, 4, 2
OPTIONS = ["--model", "resnet20", "--freeze", "layer1", "--limit", NUM_IMAGES, "--batch-size", BATCH]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
LETS_GO = Path(__file__).parent / "lets_go.py"
LAUNCHERS: dict[str, list[object]] = {
    "lightning_fabric": [EXAMPLES / "train_fabric.py", "--processes", 2, "--precision"],
    "accelerate": [*TORCHRUN, LETS_GO, EXAMPLES / "train_accelerate.py", "--precision"],
}


def launch(engine: str, precision: str, out: Path) -> list[str]:
    every = [sys.executable, *LAUNCHERS[engine], precision, *OPTIONS, "--epochs", EPOCHS, "--out", out]
    return [str(word) for word in every]


def not_there(engine: str) -> bool:
    return importlib.util.find_spec(engine) is None


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo")
@pytest.mark.parametrize(("engine", "precision"), [("lightning_fabric", "32-true"), ("accelerate", "bf16")])
def test_modes_and_frozen_parts_survive_the_loop(
    engine: str, precision: str, tmp_path: Path, example: Callable, monkeypatch
) -> None:
    if not_there(engine):
        pytest.skip(f"{engine} is not installed: pip install 'tinynets[distributed]'")
    # Fabric does not wait for its other process, which is to be heard, but may be killed in the end.
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    run = run_group(launch(engine, precision, tmp_path))
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("held-out accuracy") == EPOCHS, "the main process prints, and no other"

    trained = tn.load(tmp_path / "weights.safetensors")
    assert isinstance(trained, ImageClassifier)
    torch.manual_seed(0)
    before = example("digits").build("resnet20", torch.empty(0)).state_dict()
    steps = EPOCHS * NUM_IMAGES // BATCH // 2
    for name, value in trained.state_dict().items():
        if name.startswith("layer1."):
            assert torch.equal(value, before[name]), f"{name} is frozen, statistics included"
        elif name.endswith("num_batches_tracked"):
            assert value == steps, (
                "statistics move in training mode, and not while looking at held-out images"
            )
        else:
            assert not torch.equal(value, before[name]), f"{name} was not trained"


@pytest.mark.parametrize("script", ["train_fabric", "train_accelerate"])
def test_a_part_that_is_not_there_is_refused(example, monkeypatch, capsys, script: str) -> None:
    engines = example("engines")
    digits = example("data").Data(*[torch.zeros(4, 1, 28, 28), torch.zeros(4)] * 2, "0123456789")
    monkeypatch.setattr(engines, "load_digits", lambda *, seed: digits)
    chosen = engines.options(None, out="x").parse_args(["--model", "lenet5", "--freeze", "conv9"])
    assert engines.run(engines.model_and_data, chosen) == 1
    assert capsys.readouterr().err == (
        "error: --freeze conv9: lenet5 has the parts conv1, conv2, fc1, fc2, head\n"
    )


@pytest.mark.parametrize(
    ("script", "missing"), [("train_fabric", "lightning_fabric"), ("train_accelerate", "accelerate")]
)
def test_a_missing_engine_is_named_with_the_remedy(example, monkeypatch, script: str, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, script, raising=False)
    with pytest.raises(SystemExit) as stop:
        example(script)
    assert str(stop.value) == f"error: {missing} is not installed: pip install 'tinynets[distributed]'"
