"""What `training`, `evaluating` and `inference` promise, one by one."""

from __future__ import annotations

import copy
import os
import signal
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinynets import ModeError
from tinynets.modes import evaluating, freeze, frozen, inference, training

from .nets import MIXED, Net, flags


def test_inference_is_eval_mode_without_autograd(net: Net) -> None:
    with inference(net):
        assert flags(net) == [False] * 4
        assert torch.is_inference_mode_enabled()
        assert net(torch.randn(2, 4)).is_inference()


def test_evaluating_leaves_autograd_alone(net: Net) -> None:
    x = torch.randn(2, 4, requires_grad=True)
    with evaluating(net):
        assert flags(net) == [False] * 4
        net(x).sum().backward()
    assert x.grad is not None
    with torch.no_grad(), evaluating(net):
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("outer", [torch.no_grad, torch.inference_mode])
def test_training_turns_autograd_on_inside_anything(net: Net, outer: type) -> None:
    with outer():
        with training(net):
            assert flags(net) == [True] * 4
            net(torch.randn(2, 4)).sum().backward()
        assert not torch.is_grad_enabled()
    assert net.fc.weight.grad is not None


def test_training_inside_inference_and_back(net: Net) -> None:
    with inference(net):
        with training(net):
            assert net.norm.training
            assert torch.is_grad_enabled()
        assert flags(net) == [False] * 4
        assert torch.is_inference_mode_enabled()


@pytest.mark.parametrize("enter", [training, evaluating, inference, frozen])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_restored_after_an_exception(net: Net, enter: type, error: type[BaseException]) -> None:
    def fail() -> None:
        net.train()
        raise error

    with pytest.raises(error), enter(net):
        fail()


def test_several_models_that_share_a_module(net: Net) -> None:
    other = nn.Sequential(net.norm, nn.Dropout()).eval()
    with inference(net, other):
        assert flags(net) == [False] * 4
        with training(other):
            assert net.norm.training
            assert not net.dropout.training
        assert not net.norm.training
    assert flags(other) == [False] * 3


def test_one_object_is_reusable_and_reentrant(net: Net) -> None:
    quiet, loud = evaluating(net), training(net)
    for _ in range(2):
        with quiet, loud, quiet, quiet:
            assert flags(net) == [False] * 4
        assert flags(net) == MIXED


def test_leaving_in_another_order(net: Net) -> None:
    first, second, third = inference(net), training(net), inference(net)
    first.__enter__()
    second.__enter__()
    third.__enter__()
    second.__exit__(None, None, None)
    assert flags(net) == [False] * 4
    assert torch.is_inference_mode_enabled()
    third.__exit__(None, None, None)
    assert torch.is_inference_mode_enabled()
    first.__exit__(None, None, None)
    assert not torch.is_inference_mode_enabled()


def test_a_change_by_hand_inside_counts_until_the_block_ends(net: Net) -> None:
    with training(net):
        net.norm.eval()
        with inference(net):
            pass
        assert flags(net) == MIXED  # the validation loop must not wake the norm up


def test_submodules_added_and_removed_inside(net: Net) -> None:
    head, dropout = nn.Dropout(), net.dropout
    with inference(net):
        net.head = head
        del net.dropout
    assert dropout.training, "a removed submodule gets its flag back all the same"
    assert head.training, "an added one keeps its own"
    del net.head
    net.dropout = dropout
    net._modules["norm"] = net._modules.pop("norm")  # the order of the others


@pytest.mark.slow
def test_a_removed_model_is_not_kept_alive(net: Net) -> None:
    import gc
    import weakref

    model = Net()
    alive = weakref.ref(model)
    with inference(model):
        pass
    del model
    gc.collect()
    assert alive() is None


def test_no_writes_when_the_mode_is_right_already() -> None:
    class Watched(nn.Linear):
        writes = 0

        def __setattr__(self, name: str, value: object) -> None:
            Watched.writes += name == "training"
            super().__setattr__(name, value)

    model = nn.Sequential(Watched(1, 1), nn.Sequential(Watched(1, 1))).eval()
    Watched.writes = 0
    with inference(model), evaluating(model):
        pass
    assert Watched.writes == 0
    with training(model):
        assert Watched.writes == 2
    assert Watched.writes == 4


class TestKeepTraining:
    @pytest.mark.parametrize("keep", [nn.Dropout, (nn.Dropout,), ["dropout"], "dropout"])
    def test_by_type_and_name(self, net: Net, keep: object) -> None:
        with inference(net, keep_training=keep):
            assert flags(net) == [False, False, True, False]

    def test_by_module(self, net: Net) -> None:
        with inference(net, keep_training=net.dropout):
            assert flags(net) == [False, False, True, False]

    def test_monte_carlo_dropout_of_an_evaluated_model(self) -> None:
        model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)).eval()
        x = torch.randn(1, 4)
        with inference(model, keep_training=nn.Dropout):
            assert not torch.equal(model(x), model(x))
        assert flags(model) == [False] * 3

    def test_with_everything_below(self) -> None:
        model = nn.ModuleDict({"a": nn.Sequential(nn.Dropout()), "b": nn.Dropout()})
        with evaluating(model, keep_training="a"):
            assert flags(model) == [False, True, True, False]  # the model, a, a[0], b
        assert all(flags(model))

    def test_frozen_parts_stay_in_eval_mode(self, net: Net) -> None:
        with frozen(net.dropout), inference(net, keep_training=nn.Dropout):
            assert not net.dropout.training

    def test_keep_eval(self, net: Net) -> None:
        with training(net, keep_eval=nn.BatchNorm1d):
            assert flags(net) == MIXED

    def test_inside_an_overriding_class(self) -> None:
        model = _KeepsNormInEval()
        with inference(model, keep_training=nn.Dropout):
            assert [model.training, model.norm.training, model.dropout.training] == [False, False, True]
        assert [model.training, model.norm.training, model.dropout.training] == [True, False, True]


class _KeepsNormInEval(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout()
        self.calls: list[bool] = []
        self.train()

    def train(self, mode: bool = True) -> _KeepsNormInEval:
        self.calls.append(mode)
        super().train(mode)
        self.norm.eval()
        return self


class TestClassesThatOverrideTrain:
    def test_decide_for_themselves(self) -> None:
        model = nn.Sequential(_KeepsNormInEval(), nn.BatchNorm1d(4))
        with training(model):
            assert flags(model) == [True, True, False, True, True]
        with inference(model):
            assert not any(flags(model))
            with training(model):
                assert flags(model) == [True, True, False, True, True]

    def test_are_told_both_ways_because_they_may_do_more(self) -> None:
        model = _KeepsNormInEval()
        model.calls.clear()
        with inference(model), inference(model):
            assert model.calls == [False]  # not again when there is nothing to switch
        assert model.calls == [False, True]

    def test_an_override_that_fails_costs_no_flag(self) -> None:
        class Fails(nn.Sequential):
            def train(self, mode: bool = True) -> Fails:
                super().train(mode)
                raise RuntimeError("no")

        model = nn.Sequential(nn.Dropout(), Fails(nn.Dropout()))
        with pytest.raises(RuntimeError, match="no"), evaluating(model):
            pass
        assert all(flags(model))

    def test_a_flag_somebody_set_by_hand_comes_back_exactly(self) -> None:
        model = _KeepsNormInEval()
        model.norm.training = True
        with inference(model):
            assert not model.norm.training
        assert model.norm.training


class TestWrongArguments:
    def test_no_model(self) -> None:
        with pytest.raises(TypeError, match=r"^inference\(\) needs at least one model: inference\(model\)$"):
            inference()

    @pytest.mark.parametrize(
        ("model", "hint"),
        [
            (3, "got int"),
            (Net, r"got the class Net; make a model of it first: Net\(\)"),
            ([nn.Linear(1, 1)], r"got a list; pass its models one by one: evaluating\(\*models\)"),
            (print, r"got the function print; as a decorator, name the model: @evaluating\(model\)"),
        ],
    )
    def test_not_a_model(self, model: object, hint: str) -> None:
        with pytest.raises(TypeError, match=hint):
            evaluating(model)

    def test_a_name_that_does_not_exist(self, net: Net) -> None:
        with pytest.raises(ValueError, match=r"Net has no submodule 'dropuot'\. Did you mean 'dropout'\?"):
            inference(net, keep_training="dropuot")
        with pytest.raises(ValueError, match="It has fc, dropout, norm"):
            inference(net, keep_training=["zzz"])

    def test_a_type_that_keeps_nothing(self) -> None:
        class Functional(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return F.dropout(x, 0.1, self.training)

        expected = "there is no Dropout in Functional.*the model itself .reads self.training"
        with pytest.raises(ValueError, match=expected):
            inference(Functional(), keep_training=nn.Dropout)
        with inference(model := Functional(), keep_training=model):
            assert model.training

    def test_neither_type_name_nor_module(self, net: Net) -> None:
        for keep in (3, [3]):
            with pytest.raises(
                TypeError, match="keep_training takes module types, submodule names or modules"
            ):
                inference(net, keep_training=keep)


def test_a_model_built_under_inference_mode_is_refused_early() -> None:
    with torch.inference_mode():
        model = nn.Linear(2, 2)
    with pytest.raises(ModeError, match="weight was made under inference_mode"), training(model):
        pass
    with training(copy.deepcopy(model)) as _:
        pass


def test_lazy_modules() -> None:
    model = nn.LazyLinear(3)
    with training(model), evaluating(model), inference(model):
        model(torch.randn(2, 2))
    assert model.training


def test_a_forked_child_is_not_locked_out() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    model, inside, leave = nn.Dropout(), threading.Event(), threading.Event()

    class Slow(nn.Dropout):
        def train(self, mode: bool = True) -> Slow:
            inside.set()
            leave.wait(5)
            return super().train(mode)

    def hold() -> None:
        with inference(Slow()):
            pass

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(5)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork with threads
        child = os.fork()
    if child == 0:  # the other thread held the lock when this process was made
        signal.alarm(5)
        with inference(model):
            pass
        os._exit(0)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_repr(net: Net) -> None:
    assert repr(inference(net, nn.Linear(1, 1))) == "inference(Net, Linear)"
    freeze(nn.Linear(1, 1))
