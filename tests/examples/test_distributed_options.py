"""What the scripts for several processes refuse, and say about it, before any process has work."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

import tinynets as tn


@pytest.mark.parametrize("script", ["train_distributed", "tensor_parallel"])
def test_without_torchrun_it_says_how_to_start(example, capsys, monkeypatch, script: str) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert example(script).main([]) == 1
    assert capsys.readouterr().err == (
        "error: not started by torchrun: torchrun --standalone --nproc-per-node 2 SCRIPT\n"
    )


def test_more_processes_than_gpus_are_refused(example, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert example("train_distributed").main([]) == 1
    assert capsys.readouterr().err == (
        "error: 2 processes on this machine, which has 1 GPU(s): pass --nproc-per-node 1,"
        " or hide the GPUs with CUDA_VISIBLE_DEVICES=\n"
    )


@pytest.mark.slow
def test_nothing_of_the_work_outlives_the_group(example, monkeypatch) -> None:
    """A DDP that did would hang now and then (pytorch/pytorch#56297), an error's traceback would keep it."""
    processes = example("processes")
    monkeypatch.setattr(processes, "_device", lambda: torch.device("cpu"))
    monkeypatch.setattr("torch.distributed.rendezvous", lambda _: iter([(dist.HashStore(), 0, 1)]))
    destroy, left = dist.destroy_process_group, []

    def work() -> None:
        model = torch.nn.Linear(2, 2)
        model.itself = [model]  # a cycle, such as DDP and FSDP make
        held = weakref.ref(model)
        monkeypatch.setattr(dist, "destroy_process_group", lambda: left.append(bool(held())) or destroy())
        raise processes.ScriptError("too few images")

    with pytest.raises(processes.ScriptError, match="too few images"), processes.process_group():
        work()
    assert left == [False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "zero"], "argument --strategy: invalid choice: 'zero' (choose from "),
        (["--precision", "float8"], "argument --precision: invalid choice: 'float8' (choose from "),
        (["--accumulate", "0"], "argument --accumulate: must be a whole number of at least 1, got '0'"),
        (["--save-every", "x"], "argument --save-every: must be a whole number of at least 1, got 'x'"),
        (["--timeout", "0"], "argument --timeout: must be a whole number of at least 1, got '0'"),
        (["--restarts", "-1"], "argument --restarts: must be a whole number of at least 0, got '-1'"),
        (["--limit", "0"], "argument --limit: must be a whole number of at least 1, got '0'"),
        (["--model", "simple_vitt"], "argument --model: no model is called 'simple_vitt'; did you mean"),
        (["--shards", "2"], "unrecognized arguments: --shards 2"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(example, capsys, options, message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        example("train_distributed").main(options)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def four_processes(monkeypatch) -> None:
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 4)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--batch-size", "11", "--accumulate", "3"],
            "--batch-size 11 is too small for 4 process(es) and --accumulate 3: at least 12, an image for each",
        ),
        (["--limit", "65"], "--limit 65: there are 64 images to train on"),
        (
            ["--model", "resnet20"],
            "resnet20 has batch normalisation: its statistics would be those of a share of the batch. "
            "Take a model without, such as simple_vit, or put in nn.SyncBatchNorm, which needs GPUs",
        ),
        (
            ["--model", "tiny_vision_mlp", "--activation-checkpointing"],
            "tiny_vision_mlp has no stages to recompute: leave --activation-checkpointing away",
        ),
    ],
)
def test_what_cannot_be_trained_so_is_refused(
    example, monkeypatch, four_processes, options, message: str
) -> None:
    module = example("train_distributed")
    digits = example("data").Data(
        torch.rand(64, 1, 28, 28), torch.zeros(64, dtype=torch.long), *[torch.zeros(1)] * 2, ""
    )
    monkeypatch.setattr(module, "load_digits", lambda *, seed: digits)
    with pytest.raises(module.ScriptError) as refused:
        module.train(module.parse(options), torch.device("cpu"))
    assert str(refused.value) == message


SETTINGS = {"model": "lenet5", "batch_size": 64, "learning_rate": 0.003, "processes": 2}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"processes": 4},
            "runs/step-6 was written by 2 process(es), and these are 4: dropout would differ, so the run would not be"
            " the same. Start 2, or pass --reshard to go on with 4",
        ),
        (
            {"batch_size": 32},
            "runs/step-6 was written with --batch-size 64, this run has 32: go on with the old value, or choose"
            " another --out",
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(example, changed, message: str) -> None:
    check = example("resume").check_settings
    check(Path("runs/step-6"), SETTINGS, SETTINGS, reshard=False)
    with pytest.raises(example("script_error").ScriptError) as refused:
        check(Path("runs/step-6"), SETTINGS, SETTINGS | changed, reshard=False)
    assert str(refused.value) == message
    if "processes" in changed:
        check(Path("runs/step-6"), SETTINGS, SETTINGS | changed, reshard=True)


@pytest.mark.parametrize("recompute", [False, True])
def test_activation_checkpointing_runs_each_stage_once_more(example, recompute: bool) -> None:
    model = tn.models.SimpleViT(image_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2, hidden=8)
    calls: list[int] = []
    for index, block in enumerate(model.blocks):
        block.mlp.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
    if recompute:
        example("parallel").recompute_stages(model, "simple_vit")
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    assert calls == ([0, 1, 1, 0] if recompute else [0, 1])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            tn.models.SimpleViT(num_heads=3),
            "blocks.0.attention has num_heads=3, not a multiple of the 2 processes",
        ),
        (
            tn.models.MlpMixer(embed_dim=6),
            "blocks.0.token_mlp has hidden=3, not a multiple of the 2 processes",
        ),
        (tn.models.LeNet5(), "LeNet5 has neither attention nor perceptrons to split"),
    ],
)
def test_a_model_that_cannot_be_split_is_refused(example, model, message: str) -> None:
    with pytest.raises(example("script_error").ScriptError) as refused:
        example("tensor_parallel").split(model, SimpleNamespace(size=lambda: 2))
    assert str(refused.value) == message
