"""What a model holds is seen by all who ask, wherever it stands, or by none."""

import logging
import sys

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets._torch.state.model_walk import (
    reachable,
    unregistered,
    unregistered_modules,
    unregistered_tensors,
)
from tinynets.modes import frozen, mode_report
from tinynets.testing import check_model
from tinynets.testing.snapshot.snapshot import Snapshot

from ..zoo_names import SWEPT
from .containers import CONTAINERS, NOT_SEARCHED

INPUT = torch.ones(4, 8)


class Hides(nn.Module):
    """Calls a Dropout that stands in a container."""

    def __init__(self, make, get, hidden=None):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.hidden = make(nn.Dropout(0.5) if hidden is None else hidden)
        self.get = get

    def forward(self, x):
        return self.get(self.hidden)(self.linear(x))


class InTheClass(nn.Module):
    blocks = [nn.Dropout(0.5)]  # noqa: RUF012

    def forward(self, x):
        return self.blocks[0](x)


class Nested(nn.Module):
    """Hides a module that itself hides the Dropout."""

    def __init__(self):
        super().__init__()
        self.block = [Hides(*CONTAINERS["deque"])]

    def forward(self, x):
        return self.block[0](x)


def in_report(model):
    report = mode_report(model)
    assert "0 sensitive" not in report.summary
    return any(row.kind == "Dropout" and row.behaviour for row in report.unreached)


def failure(model, check):
    report = check_model(model, INPUT, checks=check, on_fail="collect")  # alone, since others may explain it
    return report[check].message if report[check].status == "failed" else ""


def in_roundtrip(model):
    return "(Dropout) is not registered, so eval() does not reach it" in failure(model, "modes.roundtrip")


def in_registered(model):
    return "modules that are not registered" in failure(model, "state.registered")


def in_snapshot(model):
    dropout = the_dropout(model)
    snapshot = Snapshot(model)
    dropout.eval()
    dropout.p = 0.1
    changed = {change.path.rpartition(".")[2] for change in snapshot.changes()}
    snapshot.restore()
    return changed == {"training", "p"} and dropout.training and dropout.p == 0.5


def the_dropout(model):
    found = []
    forward = nn.Dropout.forward

    def spy(self, x):
        found.append(self)
        return forward(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Dropout, "forward", spy)
        model(INPUT)
    return found[0]


USERS = {
    "mode_report": in_report,
    "modes.roundtrip": in_roundtrip,
    "state.registered": in_registered,
    "snapshot": in_snapshot,
}
MODELS = {name: lambda pair=pair: Hides(*pair) for name, pair in CONTAINERS.items()}
MODELS |= {"class body": InTheClass, "inside a hidden module": Nested}


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_dropout_is_seen_wherever_it_stands(make, user):
    assert user(make())


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
def test_what_is_registered_as_well_is_not_reported(user):
    model = Hides(lambda m: [m], lambda c: c[0])
    model.dropout = model.hidden[0]
    assert user(model) == (user is in_snapshot)
    assert unregistered(model) == []


@pytest.mark.parametrize("pair", CONTAINERS.values(), ids=CONTAINERS)
def test_a_tensor_is_seen_wherever_it_stands(pair):
    class Callable(torch.Tensor):
        def __call__(self, x):
            return x

    tensor = torch.ones(3).as_subclass(Callable)
    model = Hides(*pair, hidden=tensor)
    assert [value is tensor for _, value in unregistered_tensors(model)] == [True]
    snapshot = Snapshot(model)
    tensor.zero_()
    assert len(snapshot.changes()) == 1
    snapshot.restore()
    assert tensor.tolist() == [1, 1, 1]


@pytest.mark.parametrize("make", NOT_SEARCHED.values(), ids=NOT_SEARCHED)
def test_no_user_searches_where_no_user_searches(make):
    model, hidden = nn.Linear(8, 8), nn.Dropout()
    model.hidden = make(hidden)
    assert unregistered(model) == []
    assert all(item.value is not hidden for item in reachable(model))


def test_paths_are_those_of_the_code():
    model = nn.Sequential(nn.Linear(1, 1))
    hidden = nn.Dropout()
    model.a = {"x": (hidden,)}
    model[0].b = CONTAINERS["closure"][0](nn.ReLU())
    model[0].c = CONTAINERS["argument of a partial"][0](nn.Tanh())
    model[0].d = CONTAINERS["method of an object"][0](nn.SELU())
    assert unregistered_modules(model) == {
        "a['x'][0]": hidden,
        "0.b.<closure>.inner": model[0].b.__closure__[0].cell_contents,
        "0.c.args[0]": model[0].c.args[0],
        "0.d.__self__.inner": model[0].d.__self__.inner,
    }
    assert [(item.owner, item.attribute) for item in unregistered(model)][1:] == [
        (model[0], n) for n in "bcd"
    ]


def test_a_rebound_variable_of_a_closure_is_put_back():
    def counter():
        count = 0

        def step(x):
            nonlocal count
            count += 1
            return x

        return step

    model = Hides(lambda m: counter(), lambda c: c)
    snapshot = Snapshot(model)
    model(INPUT)
    assert [str(change) for change in snapshot.changes()] == ["hidden.<closure>.count: 0 -> 1"]
    snapshot.restore()
    assert model.hidden.__closure__[0].cell_contents == 0


def test_a_frozen_part_does_not_lead_to_the_rest_of_its_model():
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    other = nn.Sequential(nn.Dropout())
    with frozen(model), frozen(model, other):
        assert mode_report(model[0]).unreached == ()
        values = [item.value for item in reachable(model[0])]
        assert not any(value is model or value is other for value in values)


def test_nothing_of_python_torch_or_hooks_is_searched():
    model = nn.Linear(1, 1)
    other = nn.Dropout()
    logger = logging.getLogger("tinynets.test")
    logger.module = other
    try:
        model.logger, model.log, model.python, model.act = logger, logger.info, sys, torch.nn.functional.relu
        model.register_forward_hook(lambda *_: other and None)
        assert unregistered(model) == []
        assert all(item.value is not other for item in reachable(model))
    finally:
        del logger.module


def test_a_walk_of_every_model_of_the_zoo_finds_nothing_unregistered():
    for name in SWEPT:
        assert unregistered(tn.create_model(name)) == [], name


def test_the_modules_are_those_of_named_modules():
    from tinynets._torch.modules.module_tables import named_modules

    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.Linear(1, 1)), nn.ModuleDict({"a": shared}))
    model.register_module("absent", None)
    for one in (model, tn.create_model("resnet20"), tn.create_model("simple_vit")):
        assert named_modules(one) == [*one.named_modules()]
