"""The contract under what PyTorch does to a model: a valid input is accepted, an invalid one refused.

`torch.compile` and `torch.export` have files of their own, and so have several processes.
"""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad, jvp, vmap
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

import tinynets as tn

from .models import CASES, Case, ConvNet, PatchNet, Shards


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    torch.set_num_threads(1)
    return CASES[request.param]


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def refuses(case: Case, match: str | None = None) -> pytest.RaisesExc[tn.ShapeError]:
    return pytest.raises(tn.ShapeError, match=match or case.refusal)


def test_eager(case: Case) -> None:
    model = case.make().eval()
    assert model(case.valid(4)).shape == (4, model.num_classes)
    assert model(case.valid(0)).shape == (0, model.num_classes)
    with refuses(case):
        model(case.invalid())
    with pytest.raises(tn.DtypeError):
        model(case.valid().long())


def test_eager_refuses_what_a_line_computes(case: Case) -> None:
    model = case.make()
    model.num_classes = 99
    with pytest.raises(tn.ShapeError, match="num_classes"):
        model(case.valid())


def test_functional_call(case: Case) -> None:
    model = case.make()
    functional_call(model, parameters(model), (case.valid(),))
    with refuses(case):
        functional_call(model, parameters(model), (case.invalid(),))


def test_functional_call_with_parameters_of_other_sizes_is_refused_at_the_line(case: Case) -> None:
    model, other = case.make(), case.make(**case.other)
    with pytest.raises(tn.ShapeError, match="expected"):
        functional_call(model, parameters(other), (case.valid(),))


def test_vmap_over_an_extra_axis(case: Case) -> None:
    model = case.make().eval()
    images = torch.stack([case.valid(), case.valid()])
    assert vmap(model)(images).shape == (2, 4, model.num_classes)
    with refuses(case):
        vmap(model)(torch.stack([case.invalid(), case.invalid()]))


def test_vmap_over_the_batch_leaves_the_model_without_one(case: Case) -> None:
    model = case.make().eval()
    assert vmap(lambda image: model(image[None])[0])(case.valid()).shape == (4, model.num_classes)
    with pytest.raises(tn.ShapeError, match="3 axes, expected 4"):
        vmap(model)(case.valid())


def test_vmap_over_models(case: Case) -> None:
    models = [case.make().eval() for _ in range(3)]
    stacked, _ = torch.func.stack_module_state(models)

    def call(state: dict[str, Tensor], images: Tensor) -> Tensor:
        return functional_call(models[0], state, (images,))

    assert vmap(call, in_dims=(0, None))(stacked, case.valid()).shape == (3, 4, models[0].num_classes)
    with refuses(case):
        vmap(call, in_dims=(0, None))(stacked, case.invalid())


def test_gradients_of_each_sample(case: Case) -> None:
    model = case.make().eval()

    def loss(state: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(model, state, (image[None],)).square().sum()

    gradients = vmap(grad(loss), in_dims=(None, 0))(parameters(model), case.valid())
    assert all(gradient.shape[0] == 4 for gradient in gradients.values())
    with refuses(case):
        vmap(grad(loss), in_dims=(None, 0))(parameters(model), case.invalid())


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # used by jvp itself
def test_forward_mode_derivatives(case: Case) -> None:
    model = case.make().eval()
    output, tangent = jvp(model, (case.valid(),), (case.valid(),))
    assert output.shape == tangent.shape
    with refuses(case):
        jvp(model, (case.invalid(),), (case.invalid(),))


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(case: Case, reentrant: bool) -> None:
    model = case.make()
    images = case.valid(requires_grad=True)
    checkpoint(model, images, use_reentrant=reentrant).sum().backward()
    assert images.grad is not None
    with refuses(case):
        checkpoint(model, case.invalid(requires_grad=True), use_reentrant=reentrant)


def test_autocast(case: Case) -> None:
    model = case.make()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(case.valid()).dtype == torch.bfloat16
        with refuses(case):
            model(case.invalid())


def test_fake_tensors(case: Case) -> None:
    with FakeTensorMode():
        model = case.make()
        assert model(case.valid()).shape == (4, model.num_classes)
        with refuses(case):
            model(case.invalid())


def test_fake_tensors_of_symbolic_size(case: Case) -> None:
    def guards_of_a_call(*, checked: bool) -> list[str]:
        environment = ShapeEnv()
        mode = FakeTensorMode(shape_env=environment, static_shapes=False)
        context = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * 3)
        images = mode.from_tensor(case.valid(5), symbolic_context=context)
        # Up to torch 2.8, some kernels in C++ take no symbols.
        with mode, enable_python_dispatcher(), tn.checks(checked):
            logits = case.make().eval()(images)
        assert isinstance(logits.shape[0], torch.SymInt)
        return [str(guard.expr) for guard in environment.guards]

    assert guards_of_a_call(checked=True) == guards_of_a_call(checked=False)


def test_meta_device(case: Case) -> None:
    with torch.device("meta"):
        model = case.make()
        assert model(case.valid()).device.type == "meta"
        with refuses(case):
            model(case.invalid())


def test_inference_mode(case: Case) -> None:
    model = case.make()
    with tn.inference(model):
        model(case.valid())
        with refuses(case):
            model(case.invalid())


def test_symbolic_trace_records_the_model_without_checks() -> None:
    model = ConvNet()
    traced = torch.fx.symbolic_trace(model)
    with tn.checks(False):
        plain = torch.fx.symbolic_trace(model)
    assert [node.name for node in traced.graph.nodes] == [node.name for node in plain.graph.nodes]
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(traced(images), model(images))
    # Proxies have no sizes, so there was nothing to check, and what is recorded checks nothing.
    four_classes = copy.deepcopy(traced)
    four_classes.fc = nn.Linear(4, 4)
    assert four_classes(images).shape == (2, 4)
    with pytest.raises(RuntimeError, match="expected input"):
        traced(torch.randn(2, 8, 8, 3))


def test_symbolic_trace_keeps_checked_leaves() -> None:
    class KeepBlocks(torch.fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return isinstance(m, tn.Module) or super().is_leaf_module(m, module_qualified_name)

    model = nn.Sequential(nn.Flatten(1), nn.Unflatten(1, (3, 8, 8)), ConvNet())
    traced = torch.fx.GraphModule(model, KeepBlocks().trace(model))
    assert traced(torch.randn(2, 192)).shape == (2, 5)
    model[1].unflattened_size = (8, 8, 3)
    with pytest.raises(tn.ShapeError, match="ConvNet"):
        torch.fx.GraphModule(model, KeepBlocks().trace(model))(torch.randn(2, 192))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace.*is deprecated")
def test_jit_trace_checks_while_tracing_only() -> None:
    """Tracing runs the checks once, and records none of them: nothing warns of sizes that became constants."""
    model = ConvNet().eval()
    traced = torch.jit.trace(model, torch.randn(2, 3, 8, 8), check_trace=False)
    with tn.checks(False):
        plain = torch.jit.trace(model, torch.randn(2, 3, 8, 8), check_trace=False)
    assert str(traced.inlined_graph).count("aten::") == str(plain.inlined_graph).count("aten::")
    for batch, height in ((5, 8), (3, 6)):
        images = torch.randn(batch, 3, height, 8)
        torch.testing.assert_close(traced(images), model(images))
    with pytest.raises(tn.ShapeError, match="axis 1 is 8, expected 3"):
        torch.jit.trace(model, torch.randn(2, 8, 8, 3), check_trace=False)
    assert torch._C._get_tracing_state() is None


@pytest.mark.filterwarnings("ignore:`torch.jit.trace.*is deprecated")
def test_jit_trace_of_models_with_einops(case: Case) -> None:
    model = case.make().eval()
    traced = torch.jit.trace(model, case.valid(2), check_trace=False)
    images = case.valid(2)
    torch.testing.assert_close(traced(images), model(images))
    with refuses(case):
        torch.jit.trace(model, case.invalid(2), check_trace=False)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickle(case: Case, protocol: int) -> None:
    model = case.make().eval()
    images = case.valid()
    loaded = pickle.loads(pickle.dumps(model, protocol))
    torch.testing.assert_close(loaded(images), model(images))
    with refuses(case):
        loaded(case.invalid())


def test_torch_save(case: Case) -> None:
    model, buffer = case.make().eval(), io.BytesIO()
    torch.save(model, buffer)
    loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    loaded(case.valid())
    with refuses(case):
        loaded(case.invalid())


def test_deepcopy_follows_its_own_attributes(case: Case) -> None:
    model = case.make().eval()
    copied = copy.deepcopy(model)
    copied.num_classes = 99
    model(case.valid())
    with refuses(case):
        model(case.invalid())
    with pytest.raises(tn.ShapeError, match="num_classes"):
        copied(case.valid())


def test_threads_each_with_a_batch_of_their_own(case: Case) -> None:
    model, seen = case.make().eval(), []

    def work(batch: int) -> None:
        for _ in range(20):
            assert model(case.valid(batch)).shape[0] == batch
            try:
                model(case.invalid(batch))
            except tn.ShapeError as error:
                seen.append((batch, error.got.split("[")[1].split()[0]))

    threads = [threading.Thread(target=work, args=(batch,)) for batch in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 * 20
    assert all(str(batch) == got for batch, got in seen)


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_an_error_in_a_data_loader_worker_arrives_readable(
    start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where a spawned worker finds this package
    loader = DataLoader(Shards(), num_workers=1, multiprocessing_context=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of fork beside threads
        with pytest.raises(tn.ShapeError) as caught:
            list(loader)
    for worker in multiprocessing.active_children():
        worker.terminate()  # torch 2.13 would wait for it for five seconds when the error goes
    assert "shifted(bias): axis 0 is 5, expected width = 3" in str(caught.value)


def test_hooks_run_around_the_checks(case: Case) -> None:
    model, seen = case.make(), []
    model.register_forward_pre_hook(lambda _, arguments: (arguments[0].reshape(-1, *case.shape),))
    model.register_forward_hook(lambda *_: seen.append("after"))
    model(case.invalid())  # put right by the hook
    assert seen == ["after"]


def test_a_checked_module_inside_a_plain_sequence() -> None:
    model = nn.Sequential(PatchNet(), nn.Softmax(-1))
    assert model(torch.randn(2, 3, 4, 4)).shape == (2, 5)
    with pytest.raises(tn.ShapeError) as caught:
        model(torch.randn(2, 4, 4, 3))
    assert caught.value.module_path == "0"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graphs(case: Case) -> None:
    model = case.make().eval().cuda()
    images = case.valid(device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(3):
            model(images)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        logits = model(images)
    images.copy_(case.valid())
    graph.replay()
    with torch.no_grad():
        torch.testing.assert_close(logits, model(images))
    with refuses(case):
        model(case.invalid(device="cuda"))
