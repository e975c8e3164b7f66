"""Frozen: eval mode that sticks and parameters without gradients, for a block or for good."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn

from tinynets.modes import evaluating, freeze, frozen, inference, is_frozen, training, unfreeze

from .nets import flags


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
        self.head = nn.Linear(4, 2)
        self.backbone[0].bias.requires_grad_(False)
        self.backbone[2].eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


@pytest.fixture
def net() -> Net:
    return Net()


def grads(module: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in module.parameters()]


FLAGS, GRADS = [True, True, True, False], [True, False, True, True]


def test_both_are_restored_exactly(net: Net) -> None:
    with frozen(net.backbone):
        assert flags(net.backbone) == [False] * 4
        assert grads(net.backbone) == [False] * 4
        assert net.head.training
        assert all(grads(net.head))
    assert (flags(net.backbone), grads(net.backbone)) == (FLAGS, GRADS)
    assert "train" not in vars(net.backbone)


def test_for_good(net: Net) -> None:
    freeze(net.backbone)
    freeze(net.backbone)
    assert is_frozen(net.backbone[1])
    assert not is_frozen(net)
    assert not any(flags(net.backbone) + grads(net.backbone))
    unfreeze(net)
    assert (flags(net.backbone), grads(net.backbone)) == (FLAGS, GRADS)
    unfreeze(net)


def test_a_training_loop_in_the_style_of_lightning(net: Net) -> None:
    freeze(net.backbone)
    weights = copy.deepcopy(net.backbone.state_dict())
    optimizer = torch.optim.SGD((p for p in net.parameters() if p.requires_grad), lr=0.1)
    for _ in range(3):
        assert net.train() is net
        assert net.training
        for _ in range(2):
            optimizer.zero_grad()
            net(torch.randn(8, 4)).sum().backward()
            optimizer.step()
        flags_before = {name: module.training for name, module in net.named_modules()}
        net.eval()
        assert not any(flags(net))
        for name, module in net.named_modules():  # Lightning puts the flags back one by one
            module.training = flags_before[name]
        net.train()
        assert not any(flags(net.backbone))
        for module in net.modules():
            module.train()
        assert not any(flags(net.backbone))
    for name, value in net.backbone.state_dict().items():
        assert torch.equal(value, weights[name])


def test_our_own_modes_respect_it(net: Net) -> None:
    freeze(net.backbone)
    with training(net):
        assert flags(net.backbone) == [False] * 4
        assert net.head.training
    with inference(net), training(net.backbone):
        assert not any(flags(net.backbone))
    unfreeze(net.backbone)
    assert flags(net.backbone) == FLAGS


def test_any_order_of_modes_and_freezing(net: Net) -> None:
    with evaluating(net):
        freeze(net.backbone)
    unfreeze(net.backbone)
    assert flags(net.backbone) == FLAGS
    with training(net):
        with frozen(net.backbone):
            assert not any(flags(net.backbone))
        assert all(flags(net.backbone))
    with frozen(net.backbone):
        freeze(net.backbone)
    assert is_frozen(net.backbone)
    with frozen(net.backbone):
        unfreeze(net.backbone)
        assert is_frozen(net.backbone)
    assert (flags(net.backbone), grads(net.backbone)) == (FLAGS, GRADS)


def test_nested_and_left_in_another_order(net: Net) -> None:
    outer, inner = frozen(net), frozen(net.backbone)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert not any(grads(net.backbone))
    assert all(grads(net.head))
    inner.__exit__(None, None, None)
    assert (flags(net.backbone), grads(net.backbone)) == (FLAGS, GRADS)


def test_the_state_dict_is_untouched(net: Net) -> None:
    before = list(net.state_dict())
    freeze(net.backbone)
    assert list(net.state_dict()) == before
    net.load_state_dict(Net().state_dict())
    assert repr(net) == repr(Net())


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize("block", [False, True])
def test_copies_are_frozen_on_their_own(net: Net, how: str, block: bool) -> None:
    def duplicate() -> Net:
        if how == "deepcopy":
            return copy.deepcopy(net)
        if how == "pickle":
            return pickle.loads(pickle.dumps(net))
        buffer = io.BytesIO()
        torch.save(net, buffer)
        buffer.seek(0)
        return torch.load(buffer, weights_only=False)

    if block:
        with frozen(net.backbone):
            other = duplicate()
        assert flags(net.backbone) == FLAGS
    else:
        freeze(net.backbone)
        other = duplicate()
    other.train()
    assert other.head.training
    assert not any(flags(other.backbone) + grads(other.backbone))
    unfreeze(other)
    assert (flags(other.backbone), grads(other.backbone)) == (FLAGS, GRADS)
    assert is_frozen(net.backbone) == (not block)
    assert is_frozen(net.backbone) == (not any(grads(net.backbone)))


def test_pickling_the_model_does_not_pull_in_its_parent(net: Net) -> None:
    freeze(net.backbone)
    assert len(pickle.dumps(net.backbone)) < 10_000


def test_tied_weights_thaw_with_the_last_of_their_owners() -> None:
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    two.weight = one.weight
    first, second = frozen(one), frozen(two)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not one.weight.requires_grad
    assert one.bias.requires_grad
    second.__exit__(None, None, None)
    assert one.weight.requires_grad
    freeze(one, two)
    unfreeze(two, one)
    assert one.weight.requires_grad


def test_a_module_added_to_a_frozen_part_follows_the_parent(net: Net) -> None:
    freeze(net.backbone)
    net.backbone.append(adapter := nn.Sequential(nn.Linear(4, 4), nn.Dropout()))
    net.eval()
    assert not any(flags(adapter))
    net.train()
    assert all(flags(adapter) + grads(adapter))
    unfreeze(net.backbone)
    assert all(flags(adapter))
    assert flags(net.backbone)[:4] == FLAGS


def test_a_replaced_or_removed_parameter(net: Net) -> None:
    old = net.backbone[0].weight
    with frozen(net.backbone):
        net.backbone[0].weight = nn.Parameter(torch.zeros(4, 4))
        net.backbone[0].bias = None
    assert net.backbone[0].weight.requires_grad
    assert not old.requires_grad  # it left while it was frozen


def test_classes_that_override_train() -> None:
    class Merging(nn.Linear):
        """Does work on switching, as adapters that merge their weights do."""

        merged = False

        def train(self, mode: bool = True) -> Merging:
            super().train(mode)
            self.merged = not mode
            return self

    model = nn.Sequential(Merging(2, 2))
    with frozen(model):
        assert model[0].merged
        model.train()
        assert model[0].merged
    assert not model[0].merged
    assert model[0].training


def test_an_instance_level_override_comes_back() -> None:
    model = nn.Dropout()
    model.train = override = lambda mode=True: nn.Dropout.train(model, mode)
    with frozen(model):
        assert model.train is not override
        model.train()
        assert not model.training
    assert model.train is override
    assert model.training


def test_wrong_mode_argument_as_in_torch(net: Net) -> None:
    freeze(net)
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        net.train("no")


def test_gradients_flow_through_to_the_input(net: Net) -> None:
    x = torch.randn(4, 4, requires_grad=True)
    with frozen(net):
        net(x).square().sum().backward()
    assert x.grad is not None
    assert net.head.weight.grad is None


def test_inside_inference(net: Net) -> None:
    with inference(net), frozen(net.backbone):
        net(torch.randn(2, 4))
    assert (flags(net.backbone), grads(net.backbone)) == (FLAGS, GRADS)


@pytest.mark.parametrize("function", [freeze, unfreeze, frozen])
def test_wrong_arguments(function: type) -> None:
    with pytest.raises(TypeError, match="needs at least one model"):
        function()
    with pytest.raises(TypeError, match="got str"):
        function("backbone")
