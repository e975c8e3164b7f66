"""What is proved of a model holds for every size, and what is found wrong has been run."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets._prove.proof import Proof
from tinynets._prove.prove import prove
from tinynets.cli import main
from tinynets.inputs.examples import example_arguments

from . import nets


@functools.cache
def proof_of(name: str, *inputs: str) -> Proof:
    model = getattr(nets, name)()
    return prove(model, example_arguments(model, inputs, {}))


SUMMARIES = {
    "HalvesAsSaid": "proved for every batch, height and width",
    "CutsPatches": "proved for every batch and where height % 4 == 0, width % 4 == 0",
    "AddsPositions": "proved for every batch and where tokens <= 512",
    "PadsOdd": "proved for every batch and height",
    "NeedsSquares": "proved for every batch and where height == width",
    "KeepsPositive": "proved for every batch",
    "Embeds": "proved for every b and tokens",
    "LinearOverTime": "takes time == 32 only, which the annotation does not say",
    "HalvesRoundingUp": "wrong for height = 33: maps [batch 8 height//2 (width+1)//2] at nets.py:20",
    "CutsToItsTable": "wrong for tokens = 513: placed [batch tokens 16] at nets.py:52",
    "WrongOnTheOtherSide": "wrong for time = 101: y [batch time] at nets.py:69",
    "Squeezes": "wrong for batch = 1: y [batch] at nets.py:88",
    "SwapsEqualSizes": "wrong for width = 31: y [batch height width] at nets.py:96",
    "EnforcesNothing": "wrong for rows = 33: return [n c (r+1)//2 s//2] at nets.py:135",
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_verdict_in_one_line(name: str) -> None:
    assert proof_of(name).summary == SUMMARIES[name]


def test_the_wrong_line_passes_where_tests_look() -> None:
    model = nets.HalvesRoundingUp()
    with tn.evaluating(model):
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 8)
        with pytest.raises(tn.ShapeError):
            model(torch.randn(2, 3, 33, 32))


def test_a_counterexample_is_what_the_model_said_when_it_ran() -> None:
    wrong = {line.place.name: line for line in proof_of("HalvesRoundingUp").lines}["maps"]
    assert (wrong.verdict, wrong.counterexample, wrong.conditions) == (
        "fails",
        "height = 33",
        ("height % 2 == 0",),
    )
    assert wrong.error.startswith(
        "ShapeError: HalvesRoundingUp, nets.py:20: maps has axis 2 = 17, expected height//2 = 16"
    )
    assert "[2 8 16 16]" in wrong.error  # a batch of two, not of the symbol


def test_a_model_may_refuse_sizes_and_what_it_says_is_shown() -> None:
    (refused,) = proof_of("AddsPositions").refused
    assert refused.sizes == "tokens = 513"
    assert refused.error.startswith("RuntimeError: The size of tensor a (513) must match")


def test_sizes_that_symbols_do_not_stand_for_are_run() -> None:
    proof = proof_of("NeedsSquares")
    assert [(attempt.sizes, attempt.outcome) for attempt in proof.small] == [
        ("batch = 1", "holds"),
        ("height = 1", "refused"),
        ("width = 1", "refused"),
        ("batch = 1, height = 1, width = 1", "holds"),
        ("batch = 0", "holds"),
    ]


def test_what_depends_on_values_is_not_proved() -> None:
    proof = proof_of("BranchesOnValues")
    assert proof.verdict == "unproved"
    assert proof.summary.startswith("not proved: it cannot be traced without values: ")
    assert {line.verdict for line in proof.lines} == {"unproved"}


def test_the_model_is_left_as_it_is() -> None:
    model = nn.Sequential(nets.HalvesAsSaid(), nn.Dropout(), nn.BatchNorm1d(8)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooked: list[object] = []
    model.register_forward_hook(lambda *_: hooked.append(1))
    example, state = example_arguments(model, ("batch 3 height width",), {}), torch.get_rng_state()
    assert prove(model, example).verdict == "proved"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert not hooked


def test_it_judges_where_checks_are_off() -> None:
    model = nets.Squeezes()
    with tn.checks(False):
        assert prove(model, example_arguments(model, (), {})).verdict == "fails"
        assert model(torch.randn(1, 4)).shape == ()


FILE = str(Path(nets.__file__))


def test_the_command_prints_the_lines_and_fails_on_a_wrong_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", f"{FILE}:PadsOdd", f"{FILE}:AddsPositions"]) == 0
    assert capsys.readouterr().out == (
        "PadsOdd\n"
        "  PadsOdd.forward  nets.py\n"
        "     59 x [batch 3 height]             proved\n"
        "     62 return [batch 3 (height+1)//2] proved\n"
        "proved for every batch and height\n"
        "  run for batch = 1; height = 1; batch = 1, height = 1; batch = 0: holds\n"
        "AddsPositions\n"
        "  AddsPositions.forward  nets.py\n"
        "     45 x [batch tokens 16]      proved\n"
        "     46 placed [batch tokens 16] proved  needs tokens <= 512\n"
        "proved for every batch and where tokens <= 512\n"
        "  refused for tokens = 513: RuntimeError: The size of tensor a (513) must match the size of tensor b (512)"
        " at non-singleton dimension 1\n"
        "  run for batch = 1; tokens = 1; batch = 1, tokens = 1; batch = 0: holds\n"
    )
    assert main(["prove", f"{FILE}:PadsOdd", f"{FILE}:HalvesRoundingUp"]) == 1
    assert main(["prove", f"{FILE}:LinearOverTime"]) == 1
    assert main(["prove", f"{FILE}:BranchesOnValues"]) == 3


def test_the_command_takes_a_file_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two_nets.py"
    path.write_text(
        "import tinynets as tn\nfrom jaxtyping import Float\nfrom torch import Tensor\n\n"
        'class One(tn.Module):\n    def forward(self, x: Float[Tensor, "a b"]) -> Float[Tensor, "b a"]:\n'
        "        return x.mT\n\n"
        "class Two(One):\n    def __init__(self, size: int):\n        super().__init__()\n"
        '    def forward(self, x: Float[Tensor, "a b"]) -> Float[Tensor, "b a"]:\n        return x.mT\n'
    )
    assert main(["prove", str(path), "--json"]) == 0
    captured = capsys.readouterr()
    (found,) = json.loads(captured.out)
    assert (found["target"], found["verdict"]) == (f"{path}:One", "proved")
    assert [line["declared"] for line in found["lines"]] == ["a b", "b a"]
    assert (
        captured.err
        == f"{path}:Two: not looked at: Two needs size: write a function that builds it and name that\n"
    )


def test_a_model_without_shapes_is_told_what_to_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "torch.nn:Identity"]) == 2
    assert capsys.readouterr().err == (
        'tinynets: torch.nn:Identity does not say what shapes it takes: pass them, as in --input "batch 3 32 32"\n'
    )


def test_explain_proves_what_its_one_trace_can() -> None:
    proof = tn.explain(nets.AddsPositions(), "batch tokens 16").proof
    assert proof is not None
    assert proof.summary == "proved for every batch and where tokens <= 512"
    assert [(line.place.name, line.verdict) for line in proof.lines] == [
        ("placed", "proved"),
        ("return", "proved"),
    ]
    text = tn.explain(nets.HalvesAsSaid()).to_text()
    assert text.rstrip().endswith("proved for every batch")
    # Where nothing is enforced, the declared size is compared with the one that the line made.
    proof = tn.explain(nets.EnforcesNothing(), "n 3 rows columns").proof
    assert proof is not None
    assert proof.summary == "wrong: return [n c (r+1)//2 s//2] at nets.py:135"
    assert tn.explain(nn.Linear(4, 4), "batch 4").proof is None
