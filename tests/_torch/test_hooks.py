"""The hooks see every call, stand outside of a module's own, and come off whatever happens."""

import pytest
import torch
from torch import nn

from tinynets._torch.modules.hook_recorder import forward_hooks, recorded_calls
from tinynets.testing.locate.divergence import culprits


class Model(nn.Module):
    """Calls one module twice, and itself once."""

    def __init__(self):
        super().__init__()
        self.first = self.again = nn.Linear(2, 2)
        self.act = nn.ReLU()

    def forward(self, x, *, deeper=True):
        if deeper:
            x = self(x, deeper=False)
        return self.act(self.again(self.first(x)))


def hooks_on(model):
    return [hook for m in model.modules() for hook in (*m._forward_hooks, *m._forward_pre_hooks)]


def test_calls_come_in_the_order_of_their_ends_with_copies_of_what_went_through():
    model, x = Model(), torch.ones(1, 2)
    found = recorded_calls(model, lambda: model(x))
    inner = ["first", "first", "act"]
    assert [call.path for call in found] == [*inner, "", *inner, ""]
    assert found[-1].module is model
    assert [leaf if isinstance(leaf, bool) else tuple(leaf.shape) for leaf in found[3].inputs] == [
        (1, 2),
        False,
    ]
    x.zero_()
    assert found[-1].inputs[0].tolist() == [[1, 1]]
    assert torch.equal(found[-1].outputs[0], found[-2].outputs[0])
    assert hooks_on(model) == []


def test_the_modules_own_hooks_are_part_of_its_call():
    model, seen = nn.Linear(1, 1), []
    model.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    model.register_forward_hook(lambda module, args, output: output * 0 + 7)
    (call,) = recorded_calls(model, lambda: model(torch.zeros(1)))
    assert (call.inputs[0].item(), call.outputs[0].item()) == (0, 7)
    with forward_hooks([("x", model)], before=lambda *a: seen.append(a[0]), after=lambda *a: a[2] + 1):
        assert model(torch.zeros(1)).item() == 8
    assert seen == ["x"]
    assert len(hooks_on(model)) == 2


def test_a_call_that_raises_still_comes_in_a_pair():
    class Raises(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    model, seen = nn.Sequential(nn.ReLU(), Raises()), []
    with (
        pytest.raises(ValueError, match="no"),
        forward_hooks(
            model, before=lambda *a: seen.append(a[0]), after=lambda *a: seen.append((a[0], a[2] is None))
        ),
    ):
        model(torch.zeros(1))
    assert seen == ["", "0", ("0", False), "1", ("1", True), ("", True)]
    assert hooks_on(model) == []


def test_a_module_that_runs_after_one_that_was_caught_is_still_told_apart():
    class Survives(nn.Module):
        def __init__(self):
            super().__init__()
            self.bad, self.good, self.count = nn.Linear(9, 9), nn.ReLU(), 0

        def forward(self, x):
            try:
                self.bad(x)
            except RuntimeError:
                self.count += 1
            return self.good(x)

    model = Survives()

    def watch():
        before = model.count
        return lambda: model.count != before

    assert culprits(model, lambda: model(torch.zeros(1, 2)), watch) == ["Survives.forward itself"]


@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_scripted_modules_are_left_out():
    model = nn.Sequential(torch.jit.script(nn.ReLU()), nn.Tanh())
    assert [call.path for call in recorded_calls(model, lambda: model(torch.zeros(1)))] == ["1", ""]
