"""Training on several processes: what they compute together, and what happens when one of them fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist
from filelock import FileLock

import tinynets as tn

from ..zoo_names import EVERYTHING
from . import kills
from .conftest import EXAMPLES
from .groups import OVER_WORK, launched, run_group, start_group, torchrun

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


def same_as_uninterrupted(out: Path, group: tuple[Path, object]) -> None:
    uninterrupted = group[0] / "resumed" / "fsdp"
    for name in ("losses.json", "weights.safetensors"):
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes()
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-6", "step-8"]


OPTIONS = ["--model", "tiny_vision_mlp", "--strategy", "fsdp", "--accumulate", "2"]


def test_a_process_killed_while_saving_is_started_again_and_changes_no_bit(group, tmp_path: Path) -> None:
    run = run_group(launched(2, "killed", tmp_path, *OPTIONS, restarts=1))
    assert run.returncode == 0, run.stderr
    assert run.stderr == "note: a process failed, so all were started again (1 of 1)\n"
    assert (tmp_path / "left").read_text() == "step-3 step-6.part", "of the first attempt"
    assert "resumed after step 3 of 8\n" in run.stdout
    same_as_uninterrupted(tmp_path, group)
    assert type(tn.load(tmp_path / "weights.safetensors")) is tn.TinyVisionMLP


@pytest.mark.skipif(not EVERYTHING, reason="TINYNETS_ALL=1 runs it")
def test_killed_anywhere_it_comes_to_the_same_bits(tmp_path: Path) -> None:
    """More of it, and with more processes: `python -m tests.examples.kills`."""
    assert kills.killed_runs(tmp_path, processes=2, kills=1, strategies=["fsdp"]) >= 1


def test_a_full_disk_ends_it_at_once_in_one_line_and_nothing_is_lost(group, tmp_path: Path) -> None:
    run = run_group(launched(2, "full", tmp_path, *OPTIONS, restarts=3))
    checkpoint = tmp_path / "checkpoints" / "step-6"
    assert (run.returncode, run.stderr) == (
        1,
        f"error: cannot save {checkpoint}: on rank 1: [Errno 27] File too large: mend that and start again; older checkpoints are whole\n",
    )
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-3"]
    run = run_group(launched(2, "nothing", tmp_path, *OPTIONS))
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("resumed after step 3 of 8\n")
    same_as_uninterrupted(tmp_path, group)


def test_torchrun_does_not_try_again_what_would_fail_again(tmp_path: Path) -> None:
    run = torchrun(2, tmp_path, restarts=1, script=OVER_WORK)
    assert run.returncode == 1
    assert run.stderr.count("error: on rank 1: [Errno 28] No space left\n") == 1
    assert list(tmp_path.glob("started-1-*")), "torchrun does not know"
    assert sorted(path.name for path in tmp_path.glob("joined-*")) == ["joined-0-0", "joined-0-1"]


def test_a_stopped_process_is_named_after_the_timeout(tmp_path: Path) -> None:
    command = launched(3, "stopped", tmp_path, *OPTIONS, "--timeout", 8)
    said = tmp_path / "stderr"
    with said.open("w") as stderr, start_group(command, stdout=subprocess.DEVNULL, stderr=stderr) as process:
        until = time.monotonic() + 400
        while process.poll() is None and "\n" not in said.read_text() and time.monotonic() < until:
            time.sleep(0.5)
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGCONT)  # or else it takes half a minute until it is killed for good
        assert process.wait(timeout=100) == 1
    assert re.fullmatch(
        rf"error: on rank [02] of 3: rank 1 \(process {pid} on .*\) did not answer \(--timeout 8\):"
        " stopped, stuck, gone or cut off\n",
        said.read_text(),
    )


def test_a_contract_error_names_the_rank(tmp_path: Path) -> None:
    run = run_group(launched(2, "refused", tmp_path, "--model", "tiny_vision_mlp"))
    assert run.returncode == 1
    assert "[rank1]: tinynets.ShapeError: TinyVisionMLP(images): axis 1 is 3, expected 1" in run.stderr
    assert "[rank1]: on rank 1 of 2" in run.stderr
    assert "[rank0]: tinynets" not in run.stderr


def test_another_number_of_processes_is_refused_and_resharded_when_asked(group, tmp_path: Path) -> None:
    before = group[0] / "equal" / "simple_vit-fsdp-3-False"
    expected = json.loads((before / "losses.json").read_text())
    options = ["--model", "simple_vit", "--strategy", "fsdp", "--accumulate", "3", "--precision", "float64"]
    for processes, work in ((1, "twice"), (3, "nothing")):
        out = shutil.copytree(before, tmp_path / str(processes))
        shutil.rmtree(out / "checkpoints" / "step-8")
        reshard = ["--reshard"] * (work == "nothing")
        run = run_group(launched(processes, work, out, *options, *reshard))
        assert run.returncode == 0, run.stderr
        if not reshard:
            assert (
                f"error: {out / 'checkpoints' / 'step-6'} was written by 2 process(es), and these are 1: dropout would "
                "differ, so the run would not be the same. Start 2, or pass --reshard to go on with 1\n"
            ) in run.stderr
        assert "resumed after step 6 of 8\n" in run.stdout
        assert json.loads((out / "losses.json").read_text()) == pytest.approx(expected, abs=1e-10)


def test_the_script_itself_learns(tmp_path: Path) -> None:
    command = ["--model", "tiny_vision_mlp", "--epochs", "3", "--precision", "bfloat16", "--out", tmp_path]
    script = [sys.executable, EXAMPLES / "train_distributed.py", "--processes", 2]
    run = run_group([str(word) for word in (*script, *command)])
    assert run.returncode == 0, run.stderr
    accuracies = re.findall(r"^epoch +\d   loss \S+   held-out accuracy (\S+)$", run.stdout, re.MULTILINE)
    assert len(accuracies) == 3
    assert float(accuracies[-1]) > 0.85
