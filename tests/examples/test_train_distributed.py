"""Training on several processes: what they compute together, and what happens when one of them fails."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch.distributed as dist
from filelock import FileLock

import tinynets as tn

from .conftest import EXAMPLES
from .groups import torchrun

TOGETHER = ("equal", "resumed", "precision", "exchanges", "tensor_parallel")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo"),
]


@pytest.fixture(scope="session")
def group(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Start two processes once, and let them do all the work of `TOGETHER`; pytest's workers share the result."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "group"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            run = torchrun(2, "all", folder)
            (folder / "run.json").write_text(json.dumps([run.args, run.returncode, run.stdout, run.stderr]))
    return folder, subprocess.CompletedProcess(*json.loads((folder / "run.json").read_text()))


@pytest.mark.parametrize("work", TOGETHER)
def test_two_processes_do_what_one_does(work: str, group) -> None:
    _, run = group
    assert f"{work} is well" in run.stdout, run.stderr


def test_a_process_killed_while_saving_is_started_again_and_changes_no_bit(group, tmp_path: Path) -> None:
    folder, _ = group
    options = ["--model", "tiny_vision_mlp", "--strategy", "fsdp", "--accumulate", "2"]
    run = torchrun(2, "killed", tmp_path, *options, restarts=1)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "killed").exists()  # torchrun names now this rank, now the one that waited for it
    assert "resumed after step 3 of 8\n" in run.stdout
    uninterrupted = folder / "resumed" / "fsdp"
    for name in ("losses.json", "weights.safetensors"):
        assert (tmp_path / name).read_bytes() == (uninterrupted / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-6", "step-8"]
    assert type(tn.load(tmp_path / "weights.safetensors")) is tn.TinyVisionMLP


def test_a_contract_error_names_the_rank(tmp_path: Path) -> None:
    run = torchrun(2, "refused", tmp_path, "--model", "tiny_vision_mlp")
    assert run.returncode == 1
    assert "[rank1]: tinynets.ShapeError: TinyVisionMLP(images): axis 1 is 3, expected 1" in run.stderr
    assert "[rank1]: on rank 1 of 2" in run.stderr
    assert "[rank0]: tinynets" not in run.stderr


def test_another_number_of_processes_is_refused_and_resharded_when_asked(group, tmp_path: Path) -> None:
    folder, _ = group
    out = folder / "equal" / "simple_vit-fsdp-3-False"
    expected = json.loads((out / "losses.json").read_text())
    (out / "checkpoints" / "step-8" / ".metadata").unlink()
    options = ["--model", "simple_vit", "--strategy", "fsdp", "--accumulate", "3", "--precision", "float64"]
    run = torchrun(1, "twice", out, *options)
    checkpoint = out / "checkpoints" / "step-6"
    assert (
        f"error: on rank 0 of 1: {checkpoint} was written by 2 process(es), and these are 1: dropout would differ, "
        "so the run would not be the same. Start 2, or pass --reshard to go on with 1\n"
    ) in run.stderr
    assert run.returncode == 0, run.stderr
    assert "resumed after step 6 of 8\n" in run.stdout
    found = json.loads((out / "losses.json").read_text())
    assert found == pytest.approx(expected, abs=1e-10)


def test_the_script_itself_learns(tmp_path: Path) -> None:
    command = ["--model", "tiny_vision_mlp", "--epochs", "3", "--precision", "bfloat16", "--out", tmp_path]
    run = torchrun(2, *command, script=EXAMPLES / "train_distributed.py")
    assert run.returncode == 0, run.stderr
    accuracies = re.findall(r"^epoch +\d   loss \S+   held-out accuracy (\S+)$", run.stdout, re.MULTILINE)
    assert len(accuracies) == 3
    assert float(accuracies[-1]) > 0.85
