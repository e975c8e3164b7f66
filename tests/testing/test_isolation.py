"""Whatever a check or the model does, the model and the process are handed back as they came."""

import random
import threading
import time
from collections import OrderedDict, deque
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import tinynets as tn
from tinynets._torch.state.devices import default_device
from tinynets.testing import Failure, Level, ModelCheck, Skip
from tinynets.testing.options import Options
from tinynets.testing.plan import Plan
from tinynets.testing.runner import run_one
from tinynets.testing.snapshot.snapshot import Snapshot
from tinynets.testing.suite import prepare

INPUT = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Slots:
    __slots__ = ("count", "table")

    def __init__(self):
        self.count, self.table = 1, torch.ones(2)


class Everything(nn.Module):
    """Holds something of each kind, in every place where a module can hold it."""

    shared = [1]  # noqa: RUF012
    calls = 0

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(8, 8)
        self.head = nn.Linear(8, 6)
        self.head.weight = nn.Parameter(torch.randn(6, 8))
        self.fc1.weight = nn.Parameter(torch.randn(8, 6))
        self.tied = nn.Linear(8, 6, bias=False)
        self.tied.weight = self.head.weight
        self.register_buffer("whole", torch.arange(12.0).view(3, 4))
        self.register_buffer("view", self.whole[1], persistent=False)
        self.register_buffer("expanded", torch.ones(1).expand(5))
        self.hidden = [nn.Linear(2, 2)]
        self.log = {"loss": [1.0, 2.0], "last": deque([1], maxlen=3)}
        self.order = OrderedDict(a=1, b=2)
        self.names = {"x", "y"}
        self.pair = (torch.zeros(2), [torch.ones(1)])
        self.settings = SimpleNamespace(rate=0.1, steps=[1, 2])
        self.slots = Slots()
        self.array = np.arange(3.0)
        self.generator = torch.Generator().manual_seed(1)
        self.rng = np.random.default_rng(1)
        self.random = random.Random(1)
        self.fc2.bias.requires_grad_(False)
        self.norm.eval()
        self.fc1.register_forward_hook(nothing)
        self.fc1.weight.register_hook(nothing)
        (self(INPUT).sum() + self.tied.weight.sum()).backward()

    def forward(self, x):
        return self.head(self.drop(self.fc2(self.norm(self.fc1(x)))))


def nothing(*_):
    return None


def fingerprint(model):
    """Everything that could have changed, by identity and by value; written without the help of the library."""
    found = {}
    for path, module in [*model.named_modules(), ("hidden", model.hidden[0])]:
        hooks = {name: list(value.items()) for name, value in vars(module).items() if name.endswith("hooks")}
        names = [*module._parameters, "|", *module._buffers, "|", *module._modules]
        found[f"{path} module"] = (id(module), type(module), module.training, hooks, names, set(vars(module)))
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                found[f"{path}.{name}"] = of_tensor(tensor)
    loose = [*model.pair[1], model.pair[0], model.slots.table]
    found["loose"] = [of_tensor(tensor) for tensor in loose]
    found["plain"] = repr((model.log, model.order, model.settings, model.array, type(model).shared))
    found["sets"] = (sorted(model.names), type(model).calls, "calls" in vars(model), model.slots.count)
    found["ids"] = [id(value) for value in (model.log, model.log["loss"], model.settings.steps, model.pair)]
    found["random"] = (
        model.generator.get_state().tolist(),
        repr(model.rng.bit_generator.state),
        model.random.getstate(),
    )
    return found


def of_tensor(tensor):
    grad = None if tensor.grad is None else of_tensor(tensor.grad)
    hooks = [
        dict(tensor._backward_hooks or {}),
        dict(getattr(tensor, "_post_accumulate_grad_hooks", None) or {}),
    ]
    shape = (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
    values = tensor.detach().tolist()
    flags = (tensor.requires_grad, tensor.is_leaf)
    return id(tensor), tensor.data_ptr(), shape, values, flags, grad, hooks, dict(tensor.__dict__)


# -- what a check may do to a model -------------------------------------------------------------------


@torch.no_grad()
def write_in_place(model):
    for tensor in [*model.parameters(), model.whole, model.pair[0], model.pair[1][0], model.slots.table]:
        tensor.add_(1)


def write_to_the_one_element_of_an_expanded_buffer(model):
    model.expanded[:1].add_(1)


def to_double(model):
    model.double()
    model.hidden[0].double()


def to_meta(model):
    model.to("meta")


def move_memory(model):
    for parameter in model.parameters():
        parameter.data = parameter.data.clone() + 1


def replace_and_untie(model):
    model.head.weight = nn.Parameter(torch.zeros(6, 8))
    model.whole = torch.zeros(3, 4)
    model.fc1 = nn.Identity()


def take_out_and_put_back(model):
    weight = model.fc1.weight
    del model.fc1.weight
    model.fc1.weight = weight
    fc1 = model.fc1
    del model.fc1
    model.fc1 = fc1


def add_and_delete(model):
    model.extra = nn.Linear(2, 2)
    model.register_buffer("late", torch.zeros(1))
    model.fc1.note = "x"
    del model.random
    del model.tied


def drop_gradients(model):
    model.zero_grad(set_to_none=True)


def change_gradients(model):
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(2)
    model.double()
    model(INPUT.double()).sum().backward()


def change_flags(model):
    model.requires_grad_(False)
    model.train()
    model.drop.eval()
    model.fc2.bias.requires_grad_(True)


def put_a_buffer_into_a_graph(model):
    model.whole[0] = torch.ones(4, requires_grad=True)
    assert not model.whole.is_leaf


def add_hooks(model):
    model.fc1.register_forward_pre_hook(nothing)
    model.fc1._forward_hooks.clear()
    model.fc2.register_full_backward_hook(nothing)
    model.fc2.weight.register_hook(nothing)
    model.fc1.weight.register_post_accumulate_grad_hook(nothing)
    model.fc1.weight._backward_hooks.clear()
    model.fc1.weight.mark = 1


def change_attributes(model):
    model.log["loss"].append(3.0)
    model.log["last"].append(2)
    model.log["new"] = 1
    model.order.move_to_end("a")
    model.names.discard("x")
    model.settings.steps.clear()
    model.settings.rate = 1.0
    model.pair[1].append(1)
    model.slots.count += 1
    model.slots.table = None
    model.array += 1
    model.calls = 5


def change_the_class(model):
    type(model).calls += 1
    type(model).shared.append(2)
    type(model).added = 1


def draw(model):
    torch.rand(3, generator=model.generator)
    model.rng.random()
    vars(model).get("random", random.Random()).random()


def parametrize_it(model):
    nn.utils.parametrizations.weight_norm(model.fc1)
    parametrize.register_parametrization(model.fc2, "weight", nn.Identity())


def old_weight_norm(model):
    nn.utils.weight_norm(model.fc2)


def train_it(model):
    model.train()
    optimizer = torch.optim.Adam(model.parameters())
    model(INPUT).sum().backward()
    optimizer.step()


VANDALS = [
    add_hooks,
    write_in_place,
    write_to_the_one_element_of_an_expanded_buffer,
    to_double,
    to_meta,
    move_memory,
    replace_and_untie,
    take_out_and_put_back,
    add_and_delete,
    drop_gradients,
    change_gradients,
    change_flags,
    put_a_buffer_into_a_graph,
    change_attributes,
    change_the_class,
    draw,
    parametrize_it,
    old_weight_norm,
    train_it,
]
APART = {to_meta, change_gradients, train_it, parametrize_it, old_weight_norm, replace_and_untie}
TOGETHER = [*(vandal for vandal in VANDALS if vandal not in APART), replace_and_untie]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
@pytest.mark.parametrize("vandal", VANDALS, ids=lambda vandal: vandal.__name__)
def test_a_snapshot_puts_back(vandal):
    model = Everything()
    before, snapshot = fingerprint(model), Snapshot(model)
    assert snapshot.changes() == []
    vandal(model)
    assert snapshot.changes(), "not seen as a change"
    snapshot.restore()
    assert fingerprint(model) == before
    assert snapshot.changes() == []


def test_a_snapshot_puts_back_everything_at_once_and_again():
    model = Everything()
    before, snapshot = fingerprint(model), Snapshot(model)
    for _ in range(2):
        for vandal in TOGETHER:
            vandal(model)
        snapshot.restore()
        assert fingerprint(model) == before


def test_tied_weights_and_views_stay_what_they_are():
    model = Everything()
    snapshot = Snapshot(model)
    move_memory(model)
    replace_and_untie(model)
    snapshot.restore()
    assert model.tied.weight is model.head.weight
    assert model.view.data_ptr() == model.whole[1].data_ptr()
    model.whole[1, 0] = 99.0
    assert model.view[0] == 99.0


def test_handles_of_hooks_still_remove_them():
    model = nn.Linear(2, 2)
    handles = [model.register_forward_hook(nothing), model.weight.register_hook(nothing)]
    snapshot = Snapshot(model)
    model._forward_hooks.clear()
    model.weight._backward_hooks = None
    snapshot.restore()
    assert len(model._forward_hooks) == len(model.weight._backward_hooks) == 1
    for handle in handles:
        handle.remove()
    assert len(model._forward_hooks) == len(model.weight._backward_hooks) == 0


def test_changes_are_named_as_the_code_names_them():
    model = Everything()
    snapshot = Snapshot(model)
    with torch.no_grad():
        model.head.weight.add_(1)
    model.norm.train()
    model.fc1.weight.requires_grad_(False)
    model.log["loss"].append(3.0)
    model.settings.rate = 1
    model.late = nn.Linear(1, 1)
    model.whole = model.whole.clone()
    assert sorted(str(change) for change in snapshot.changes()) == [
        "fc1.weight.requires_grad: True -> False",
        "head.weight: other values in float32[6, 8]",
        "late: (nothing) -> a Linear",
        "log['loss']: list of 2 -> list of 3",
        "norm.training: False -> True",
        "settings.rate: 0.1 -> 1",
        "whole: replaced by an equal float32[3, 4]",
    ]


def test_what_is_assigned_anew_but_equal_is_no_change():
    model = Everything()
    snapshot = Snapshot(model)
    model.settings.rate = float("0.1")
    model.pair = (torch.zeros(2), [torch.ones(1)])
    model.log["loss"][0] = float("1.0")
    assert snapshot.changes() == []


# -- what becomes of it in the runner -----------------------------------------------------------------


def returns():
    return None


def objects():
    raise Failure("no")


def skips():
    raise Skip("not here")


def breaks():
    raise KeyError("a bug in the check")


def hangs():
    while True:
        time.sleep(0.01)


ENDS = {returns: "passed", objects: "failed", skips: "skipped", breaks: "error", hangs: "error"}


def disturb_the_process():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_float32_matmul_precision("high")
    torch.set_autocast_enabled("cpu", True)
    torch.autograd.set_detect_anomaly(True)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.enable_flash_sdp(False)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)


def process():
    with torch.device("cpu"):
        drawn = torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state(legacy=False))
    return {
        "random": drawn,
        "dtype": torch.get_default_dtype(),
        "device": default_device(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "anomaly": torch.is_anomaly_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "sdp": torch.backends.cuda.flash_sdp_enabled(),
        "handlers": threading.active_count(),
    }


@pytest.fixture
def impatient(monkeypatch):
    """What waits for something ends after twice its share of the processor, not ten times."""
    monkeypatch.setattr("tinynets.testing.measure.time_limit._PATIENCE", 2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_a_check_may_do_anything_and_end_in_any_way(end):
    model = Everything()
    subject, _ = prepare(model, (INPUT,), Options())
    before, around = fingerprint(model), process()

    def vandalise(subject):
        for vandal in TOGETHER:
            vandal(subject.model)
        disturb_the_process()
        end()

    check = ModelCheck("test.vandal", Level.MUST, vandalise)
    result = run_one(check, subject, Plan((check,), Options(timeout=0.2 if end is hangs else None)))
    assert result.status == ENDS[end], result.message
    assert fingerprint(model) == before
    assert process() == around


class Disturbing(Everything):
    """Does to itself and to the process, in forward, what a check might."""

    def __init__(self, end=None):
        self.end = None
        super().__init__()
        self.end = end

    def forward(self, x):
        if self.end is None:
            return super().forward(x)
        change_attributes(self)
        change_flags(self)
        self.whole += 1
        y = super().forward(x.detach())
        torch.manual_seed(5)
        random.random()
        np.random.rand()
        torch.set_float32_matmul_precision("high")
        self.end()
        return y


class Raises(Disturbing):
    def __init__(self):
        super().__init__(end=partial(int, "not a number"))


class Hangs(Disturbing):
    def __init__(self):
        super().__init__(end=hangs)


class Works(Disturbing):
    def __init__(self):
        super().__init__(end=returns)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("model", [Works, Raises, Hangs])
def test_a_model_is_handed_back_whatever_it_does(model):
    instance = model()
    before, around = fingerprint(instance), process()
    groups = ("runs", "modes", "purity") if model is Works else ("runs",)
    report = tn.testing.check_model(instance, INPUT, groups=groups, timeout=0.3, on_fail="collect")
    assert not report.ok
    assert fingerprint(instance) == before
    assert process() == around


def test_the_process_is_as_before_when_check_model_refuses_and_when_it_raises():
    around = process()
    with pytest.raises(TypeError):
        tn.testing.check_model(Works)
    with pytest.raises(tn.testing.ModelCheckError):
        tn.testing.check_model(Works, INPUT, groups=("runs", "modes"))
    assert process() == around


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
def test_a_model_that_deepcopy_refuses_is_checked_and_handed_back():
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 5)), nn.ReLU())
    model(INPUT).sum().backward()
    weight = model[0].weight
    before = [of_tensor(p) for p in model.parameters()]
    report = tn.testing.check_model(model, INPUT, groups=("runs", "modes", "purity"))
    assert report["purity.live_weights"].status == "passed"
    assert [of_tensor(p) for p in model.parameters()] == before
    assert model[0].weight is weight
    assert weight.grad_fn is not None


@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_a_scripted_model_gets_its_mode_and_weights_back():
    model = torch.jit.script(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout()))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    snapshot = Snapshot(model)
    model.eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    snapshot.restore()
    tn.testing.check_model(model, INPUT, groups=("runs", "purity"))
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
