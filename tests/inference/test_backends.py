"""A compiled program answers as the model does, but for last digits; it follows the model, or says that it has changed."""

from __future__ import annotations

import copy
import functools
import pickle
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tinynets as tn

from . import nets
from .test_arguments import answer, images

BACKENDS = ("aoti", "onnxruntime")
pytestmark = pytest.mark.xdist_group("backends")  # what was compiled serves all tests of a process


class Case:
    """A model, and a program that was compiled of it: once for all tests, since that takes long."""

    def __init__(self, backend: str) -> None:
        torch.manual_seed(0)
        self.model = nets.Mixed()
        with torch.no_grad():
            self.model.norm.running_mean.normal_()
            self.model.norm.running_var.uniform_(0.5, 1.5)
        self.fast: Any = tn.optimize_for_inference(self.model, "batch 2 6 6", backend=backend)


@pytest.fixture(scope="module", params=BACKENDS)
def case(request: pytest.FixtureRequest) -> Case:
    return compiled(request.param)


@functools.cache
def compiled(backend: str) -> Case:
    return Case(backend)


def close(fast: Any, model: nn.Module, x: Tensor) -> bool:
    """Whether the same values are finite, infinite and no numbers, and the finite ones are close."""
    with tn.inference(model):
        expected = model(x)
    ours, theirs = (torch.utils._pytree.tree_flatten(value) for value in (fast(x), expected))
    return ours[1] == theirs[1] and all(map(alike, ours[0], theirs[0]))


def alike(ours: Tensor, theirs: Tensor) -> bool:
    finite = theirs.isfinite()
    scale = theirs[finite].abs().max() if finite.any() else torch.zeros(())
    assert ours.is_inference()
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    masks = all(
        torch.equal(kind(ours), kind(theirs)) for kind in (torch.isnan, torch.isposinf, torch.isneginf)
    )
    return masks and bool(
        (ours[finite] - theirs[finite]).abs().max() <= 1e-5 * scale if finite.any() else True
    )


@pytest.mark.slow
def test_one_program_for_every_batch(case: Case) -> None:
    for batch in (0, 1, 2, 7, 64):
        assert close(case.fast, case.model, images(batch, 2, 6, 6)), batch
        assert nets.took_a_line(case.fast, images(batch, 2, 6, 6)), batch
    assert repr(case.fast) in ("CompiledModel(Mixed, AOTInductor)", "CompiledModel(Mixed, ONNX Runtime)")
    assert "run([" in case.fast.source


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_the_same_values_are_nan_and_infinite(case: Case, value: float) -> None:
    for index in ((1, 0, 2, 2), (1,)):
        x = images(3, 2, 6, 6)
        x[index] = value
        assert close(case.fast, case.model, x)


@pytest.mark.slow
def test_all_else_goes_to_the_model(case: Case) -> None:
    odd: list[Callable[[], tuple[Any, ...]]] = [
        lambda: (images(3, 2, 8, 10),),
        lambda: (images(2, 6, 6),),
        lambda: (images(3, 6, 6, 2),),
        lambda: (images(3, 2, 6, 6).double(),),
        lambda: (images(3, 2, 6, 6).mT,),
        lambda: (images(3, 2, 6, 6).to_sparse(),),
        lambda: (None,),
        lambda: (),
    ]
    for make in odd:
        expected = answer(tn.inference(case.model)(lambda *args: case.model(*args)), *make())
        found = answer(case.fast, *make())
        if isinstance(expected, dict):
            assert torch.equal(found["logits"], expected["logits"])
        else:
            assert found[:2] == expected[:2]
    with torch.autocast("cpu", torch.bfloat16):
        assert (
            case.fast(images(3, 2, 6, 6))["logits"].dtype
            is case.model.eval()(images(3, 2, 6, 6))["logits"].dtype
        )
    assert nets.took_a_line(case.fast, x=images(3, 2, 6, 6))


@pytest.mark.slow
def test_always_in_eval_mode(case: Case) -> None:
    case.model.train()
    assert close(case.fast, case.model, images(3, 2, 6, 6))
    assert nets.took_a_line(case.fast, images(3, 2, 6, 6))
    assert case.model.drop.training
    with tn.training(case.model), pytest.raises(tn.ModeError, match="always computes in eval mode"):
        case.fast(images(3, 2, 6, 6))


@pytest.mark.slow
def test_it_can_be_neither_copied_nor_pickled(case: Case) -> None:
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="can be neither copied nor pickled: copy the model, and call"):
            attempt(case.fast)


def train_a_step(model: nn.Module, **options: bool) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **options)
    with tn.training(model):
        model(images(3, 2, 6, 6))["logits"].square().sum().backward()
        optimizer.step()


def add_one(model: nets.Mixed, **options: bool) -> None:
    model.load_state_dict({name: tensor + 1 for name, tensor in model.state_dict().items()}, **options)


HIDDEN: dict[str, Callable[[nets.Mixed], object]] = {
    "data.add_": lambda model: model.head.weight.data.add_(1),
    "NumPy view": lambda model: model.head.weight.detach().numpy().__iadd__(1),
    "running statistics": lambda model: model.norm.running_mean.data.add_(1),
}
SEEN: dict[str, Callable[[nets.Mixed], object]] = {
    "optimizer": train_a_step,
    "load_state_dict": add_one,
    "load_state_dict, assign": lambda model: add_one(model, assign=True),
    "data": lambda model: setattr(model.head.weight, "data", torch.randn(3, 8)),
    "parameter": lambda model: setattr(model.head, "weight", nn.Parameter(torch.randn(3, 8))),
}


@pytest.mark.slow
def test_aoti_reads_the_weights_where_the_model_has_them() -> None:
    case = compiled("aoti")  # this test comes last, and leaves the model changed
    x = images(3, 2, 6, 6)
    changes = {**HIDDEN, **SEEN, "fused": lambda model: train_a_step(model, fused=True)}
    changes["unregistered"] = lambda model: model.shift.add_(1)
    for name, change in changes.items():
        before = case.fast(x)["logits"]
        change(case.model)
        assert close(case.fast, case.model, x), name
        assert nets.took_a_line(case.fast, x), name
        assert not torch.equal(case.fast(x)["logits"], before), f"{name}: the change was none"
    handle = case.model.head.register_forward_hook(lambda module, args, output: output * 2)
    assert close(case.fast, case.model, x)
    assert not nets.took_a_line(case.fast, x)
    handle.remove()
    assert nets.took_a_line(case.fast, x)
    case.model.to(memory_format=torch.channels_last)
    assert close(case.fast, case.model, x)
    assert not nets.took_a_line(case.fast, x)
    case.model.to(memory_format=torch.contiguous_format)
    case.model.scale = 5.0
    assert close(case.fast, case.model, x)
    assert repr(case.fast) == (
        "CompiledModel(Mixed, AOTInductor; its structure has changed, so it runs itself until refresh())"
    )


@pytest.mark.slow
def test_onnx_runtime_says_that_its_copy_is_old() -> None:
    case = compiled("onnxruntime")  # likewise
    x = images(3, 2, 6, 6)
    reasons = {
        "optimizer": "conv.weight was written to",
        "data": "head.weight was written to",
        "load_state_dict, assign": "conv.weight is another tensor",
    }
    for name in reasons:
        SEEN[name](case.model)
        for _ in range(2):
            with pytest.raises(RuntimeError) as caught:
                case.fast(x)
            assert str(caught.value) == (
                f"Mixed is not what it was when ONNX Runtime copied it: {reasons[name]}. Call refresh()"
            )
        case.fast.refresh()
        assert close(case.fast, case.model, x), name
        assert nets.took_a_line(case.fast, x), name
    handle = case.model.head.register_forward_hook(lambda module, args, output: output * 2)
    with pytest.raises(RuntimeError, match="a hook has to run at every call"):
        case.fast(x)
    handle.remove()
    assert nets.took_a_line(case.fast, x)
    for change in HIDDEN.values():  # as docs/inference.md says
        before = case.fast(x)["logits"]
        change(case.model)
        assert torch.equal(case.fast(x)["logits"], before)
    case.model.scale = 5.0
    with pytest.raises(RuntimeError, match="copied it: its modules or attributes. Call"):
        case.fast(x)


@pytest.mark.slow
def test_what_cannot_be_compiled() -> None:
    with pytest.raises(
        ValueError,
        match=r"DataDependent cannot be optimized by ONNX Runtime: .*, at line \d+ of nets.py: if x.sum",
    ):
        tn.optimize_for_inference(nets.DataDependent(), torch.randn(3), backend="onnxruntime")


def test_a_backend_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="^backend") as caught:
        tn.optimize_for_inference(tn.TinyVisionMLP(), backend="openvino")
    assert str(caught.value) == 'backend is None, for Python, or "aoti" or "onnxruntime", got \'openvino\''


def test_a_machine_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="^backend") as caught:
        tn.optimize_for_inference(tn.TinyVisionMLP(), backend="aoti")
    assert str(caught.value) == 'backend="aoti" needs a C++ compiler: none of g++, clang++, cl is on the path'


def test_a_machine_without_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        tn.optimize_for_inference(tn.TinyVisionMLP(), backend="onnxruntime")
    assert str(caught.value) == "backend=\"onnxruntime\" needs onnxruntime: pip install 'tinynets[onnx]'"


def test_onnx_runtime_is_for_the_cpu() -> None:
    with pytest.raises(ValueError, match="^backend") as caught:
        tn.optimize_for_inference(tn.TinyVisionMLP().to("meta"), backend="onnxruntime")
    assert str(caught.value) == 'backend="onnxruntime" is for the CPU, and the model is on meta'
