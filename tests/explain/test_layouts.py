"""How tensors lie in memory and what autocast does: compared with the tensors of a real call."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tinynets as tn
from tinynets._explain.recording import trace
from tinynets._torch.tracing.layouts import layout_of


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        maps = self.conv(x)
        last = maps.transpose(1, 3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = self.fc(last)
        return scores.float().mean((1, 2))


CHANNELS_LAST = torch.zeros(5, 3, 8, 6).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("tensor", "layout"),
    [
        (torch.zeros(4, 3, 2), "contiguous"),
        (torch.zeros(0, 3), "contiguous"),
        (torch.zeros(()), "contiguous"),
        (torch.zeros(1, 5).t(), "contiguous"),
        (torch.zeros(2, 5).t(), "strided"),
        (torch.zeros(2, 8)[:, ::2], "strided"),
        (torch.zeros(2, 1).expand(2, 7), "strided"),
        (CHANNELS_LAST, "channels_last"),
        (torch.zeros(2, 3, 4, 4, 4).to(memory_format=torch.channels_last_3d), "channels_last_3d"),
        (torch.zeros(2, 3).to_sparse(), "sparse_coo"),
    ],
)
def test_names_of_layouts(tensor: torch.Tensor, layout: str) -> None:
    assert layout_of(tensor) == layout
    if layout == "contiguous":
        assert tensor.is_contiguous()


@pytest.mark.parametrize("images", [CHANNELS_LAST, torch.zeros(5, 3, 8, 6)])
def test_layouts_are_those_of_a_real_call(images: torch.Tensor) -> None:
    traced, real = (tn.explain(Images(), images, on=on).run.frame for on in ("fake", "real"))
    assert traced.arguments[0].layout == real.arguments[0].layout == layout_of(images)
    layouts = [[value.layout for value in line.values] for line in traced.lines]
    assert layouts == [[value.layout for value in line.values] for line in real.lines]
    assert layouts[1] == ["strided"]


def test_a_layout_is_shown_where_it_is_not_the_usual_one() -> None:
    text = str(tn.explain(Images(), CHANNELS_LAST))
    assert text.startswith("Images(x [batch, 3, 8, 6] f32 channels_last)")
    assert "view  strided\n" in text
    assert "bf16 · autocast cpu bfloat16\n" in text
    assert "contiguous" not in text
    assert "channels_last" not in str(tn.explain(Images(), torch.zeros(5, 3, 8, 6)))


def test_an_input_that_has_gaps_keeps_them() -> None:
    argument = tn.explain(Images(), torch.zeros(5, 3, 8, 12)[..., ::2]).run.frame.arguments[0]
    assert argument.layout == "strided"


def test_an_input_stays_transposed_with_a_symbolic_batch() -> None:
    argument = tn.explain(nn.Linear(4, 4), torch.zeros(4, 7).t()).run.frame.arguments[0]
    assert (argument.shape, argument.sizes, argument.layout) == (("batch", "4"), (7, 4), "strided")


def test_autocast_inside_the_model_is_a_fact_of_its_lines() -> None:
    explanation = tn.explain(Images(), CHANNELS_LAST)
    assert explanation.run.autocast == ""
    facts = {line.code.split()[0]: (line.autocast, line.facts) for line in explanation.lines}
    assert facts["scores"] == ("cpu bfloat16", ("autocast cpu bfloat16",))
    assert facts["maps"] == facts["return"] == ("", ())
    assert explanation.lines[3].values[0].dtype == "bfloat16"


def test_autocast_around_the_call_is_in_the_first_line_and_in_the_dtypes() -> None:
    model = Images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        explanation = tn.explain(model, CHANNELS_LAST)
        assert model.conv(CHANNELS_LAST).dtype is torch.bfloat16
    assert explanation.run.autocast == "cpu bfloat16"
    assert " · autocast cpu bfloat16 · " in str(explanation).split("line code")[0]
    assert explanation.lines[0].values[0].dtype == "bfloat16"
    assert not explanation.lines[3].facts  # it says nothing that the first line does not


class Pads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.pad(self.conv(x)[:, :, ::2], (1, 1, 0, 0, 2, 2))


@pytest.mark.parametrize("batch", [2, 64])
def test_padding_and_the_choice_of_a_kernel_cost_no_second_trace(batch: int, monkeypatch) -> None:
    tries: list[object] = []
    attempt = trace._attempt
    monkeypatch.setattr(trace, "_attempt", lambda *a, **k: (tries.append(a), attempt(*a, **k))[1])
    run = tn.explain(Pads(), torch.zeros(batch, 3, 10, 8)).run
    assert len(tries) == 1
    assert (run.method, run.tied) == ("symbolic", ())
    line = run.frame.lines[0]
    assert line.values[0].shape == ("batch", "8", "4", "8")
    assert line.allocated.value == batch * 4 * (4 * 8 * 6 + 8 * 4 * 8)
