"""What each line of a forward pass is said to do."""

import pytest
import torch
from torch import nn

import tinynets as tn

from .nets import (
    Broadcast,
    Broken,
    BrokenContract,
    Comments,
    Loop,
    Modes,
    NeedsValues,
    Nested,
    explained,
    zoo,
)


def by_code(explanation, start: str):
    return next(line for _, _, line in explanation.run.frame.walk() if line.code.startswith(start))


def test_a_typed_model_tells_its_inputs_itself() -> None:
    explanation = tn.explain(tn.CifarMLP())
    assert explanation.run.method == "symbolic"
    first = by_code(explanation, "first:")
    assert first.values[0].shape == ("batch", "hidden1")
    assert first.values[0].sizes == (32, 512)
    assert (first.verdict, first.declared, first.declared_by) == ("=", "batch hidden1", "annotation")
    assert [op.module or op.name for op in first.ops] == ["fc1", "relu"]
    assert explanation.axes == {"batch": 32, "hidden1": 512, "hidden2": 256, "num_classes": 10}


def test_einops_is_named_and_its_result_is_a_view() -> None:
    tokens = by_code(tn.explain(tn.create_model("simple_vit", depth=1)), "tokens:")
    assert [op.name for op in tokens.ops] == ["rearrange"]
    assert (tokens.values[0].memory, tokens.allocated.value) == ("view", 0)


def test_no_helper_of_the_contract_is_shown() -> None:
    assert "_tn_" not in zoo("tiny_vision_mlp").to_json()


def test_sizes_come_from_a_tensor() -> None:
    explanation = tn.explain(Comments(), torch.zeros(5, 1, 28, 28))
    assert explanation.axes["batch"] == 5
    assert by_code(explanation, "return").values[0].sizes == (5, 10)


def test_comments_are_declarations() -> None:
    lines = explained(Comments, "batch 1 28 28").lines
    assert [(line.verdict, line.declared_by) for line in lines] == [
        ("=", "comment"),
        ("≠", "comment"),
        ("=", "comment"),
    ]
    assert lines[1].values[0].shape == ("batch", "256")


def test_named_axes_of_a_string_stay_symbols() -> None:
    explanation = tn.explain(nn.Sequential(nn.Linear(64, 8)), "batch=3 tokens=77 64")
    assert explanation.lines[0].values[0].shape == ("batch", "tokens", "8")
    assert explanation.run.macs.formula == "512·batch·tokens"
    assert explanation.run.macs.value == 512 * 3 * 77


def test_dtype_in_a_string() -> None:
    explanation = tn.explain(nn.Sequential(nn.Embedding(10, 4)), "int64[batch 7]")
    assert explanation.lines[0].values[0].shape == ("batch", "7", "4")


def test_loops_fold_and_branches_show_what_ran() -> None:
    lines = explained(Loop).lines
    assert [line.code.split()[0] for line in lines] == ["for", "x", "if", "out", "return"]
    assert lines[1].count == 12
    assert lines[1].parameters == 12 * 72
    assert lines[3].code == "out = x[:, :4]"


def test_nested_modules_expand() -> None:
    explanation = explained(Nested)
    paths = [frame.path for _, frame, _ in explanation.run.frame.walk()]
    assert list(dict.fromkeys(paths)) == ["", "body", "body.2"]
    assert len(list(explanation.run.frame.walk(1))) == 2
    labels = [value.label for value in by_code(explanation, "return {").values]
    assert labels == ["['logits']", "['features']"]


def test_items_that_are_alike_fold() -> None:
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)), nn.Linear(8, 3))
    lines = tn.explain(model, "batch 8").lines
    assert [(line.code.split(":")[0], line.count) for line in lines] == [("(0..4)", 5), ("(5)", 1)]


def test_a_failing_forward_shows_how_far_it_got() -> None:
    explanation = explained(Broken)
    assert explanation.failed
    assert [line.failed for line in explanation.lines] == [False, True]
    operands = dict(explanation.lines[1].operands)
    assert operands["hidden"] == "[batch, 16] float32"
    assert operands["self.fc2"].startswith("Linear(in_features=15")
    assert "batch, 16" in explanation.run.error
    assert ">return self.fc2(hidden)" in str(explanation)


def test_a_refused_contract_is_a_failing_line() -> None:
    explanation = tn.explain(BrokenContract())
    assert [line.failed for line in explanation.lines] == [False, True]
    assert "ShapeError" in explanation.run.error


def test_mode_facts() -> None:
    train, evaluated = explained(Modes).runs
    assert train.frame.lines[0].facts == ("bn uses batch statistics",)
    assert train.frame.lines[1].facts == ("dropout 0.25 ON",)
    assert evaluated.frame.lines[0].facts == ("bn uses running statistics",)
    assert evaluated.frame.lines[2].warnings == ("dropout 0.5 is ON although eval",)
    assert not train.frame.lines[2].warnings
    assert [line.differs for line in train.frame.lines] == [True, True, True, False]


def test_accidental_broadcasting_is_flagged_and_an_outer_product_is_not() -> None:
    lines = tn.explain(Broadcast(), "batch 8", "batch").lines
    assert lines[0].warnings == ("sub broadcasts [batch, 1] with [batch] to [batch, batch]",)
    assert lines[0].values[0].shape == ("batch", "batch")
    assert not lines[1].warnings


def test_a_model_that_needs_values_is_run_and_it_is_said() -> None:
    explanation = tn.explain(NeedsValues(), "batch 4")
    assert explanation.run.method == "real"
    assert "DataDependent" in explanation.run.reason
    assert "real sizes" in str(explanation)


def test_real_on_request() -> None:
    explanation = tn.explain(tn.TinyVisionMLP(), torch.rand(3, 1, 28, 28), on="real")
    assert explanation.run.method == "real"
    assert explanation.lines[1].values[0].shape == ("batch", "hidden")


def test_unused_parameters_are_named() -> None:
    model = Comments()
    model.spare = nn.Linear(3, 3)
    assert tn.explain(model, "batch 1 28 28").run.unused == ("spare.weight", "spare.bias")


def test_a_bare_layer_is_one_line() -> None:
    assert tn.explain(nn.Linear(4, 3), "batch 4").lines[0].values[0].shape == ("batch", "3")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_compiled_model_is_explained_as_it_was_written() -> None:
    assert tn.explain(torch.compile(Comments()), "batch 1 28 28").run.frame.module == "Comments"


class Compares(nn.Module):
    def forward(self, x):
        if x.shape[0] == 4:
            return x.reshape(2, -1)
        return x


def test_branches_on_the_batch_are_those_of_the_batch_that_was_given() -> None:
    assert tn.explain(Compares(), torch.zeros(4, 6)).run.frame.lines[-1].code == "return x.reshape(2, -1)"
    assert tn.explain(Compares(), torch.zeros(5, 6)).run.frame.lines[-1].code == "return x"
    assert tn.explain(Compares(), torch.zeros(4, 6)).run.tied == ("batch",)


class TimeFirst(nn.Module):
    def __init__(self, unbinds: bool) -> None:
        super().__init__()
        self.unbinds = unbinds
        self.cell = nn.Linear(8, 8)

    def forward(self, x):
        hidden = x[0]
        for step in x if self.unbinds else (x[index] for index in range(x.shape[0])):
            hidden = self.cell(hidden + step)
        return hidden


@pytest.mark.parametrize("unbinds", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_loop_over_the_first_axis_runs_as_often_as_it_would(unbinds: bool) -> None:
    run = tn.explain(TimeFirst(unbinds), "tokens=3 batch 8").run
    line = by_code(tn.explain(TimeFirst(unbinds), torch.zeros(3, 5, 8)), "hidden = self.cell")
    assert (run.tied, run.macs.formula) == (("tokens",), "192·batch")
    assert (line.count, line.macs.value) == (3, 3 * 5 * 64)


@pytest.mark.slow
def test_kernels_that_refuse_symbols_are_replaced() -> None:
    run = tn.explain(nn.LSTM(8, 16, batch_first=True), "batch tokens=7 8").run
    assert run.method == "symbolic"
    assert run.frame.lines[0].values[0].shape == ("batch", "tokens", "16")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.LazyLinear(4)), "lazy layers"),
        (nn.Linear, "takes a torch.nn.Module"),
        (Loop(), "does not say what shape"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_reason(model, message) -> None:
    with pytest.raises(TypeError, match=message):
        tn.explain(model)


def test_wrong_words_are_refused() -> None:
    with pytest.raises(ValueError, match='"train" and "eval"'):
        tn.explain(Loop(), "batch 8", modes=("training",))
    with pytest.raises(ValueError, match='"fake" or "real"'):
        tn.explain(Loop(), "batch 8", on="meta")
    with pytest.raises(TypeError, match="not a shape"):
        tn.explain(Loop(), "batch [8")
