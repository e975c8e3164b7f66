"""Models inside torch.compile, DDP, FSDP, TorchScript and torch.export."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

import tinynets as tn
from tinynets.modes import evaluating, freeze, frozen, inference, is_frozen, training, unfreeze

from .nets import MIXED, Net, flags


@pytest.mark.slow
class TestCompile:
    @pytest.fixture(autouse=True)
    def fresh(self) -> Iterator[None]:
        torch.compiler.reset()
        with warnings.catch_warnings():
            warnings.filterwarnings("error")
            yield
        torch.compiler.reset()

    @pytest.mark.parametrize("compiled_first", [True, False])
    def test_wrapper_and_wrapped_agree(self, net: Net, compiled_first: bool) -> None:
        compiled = torch.compile(net, backend="eager")
        outer, inner = (compiled, net) if compiled_first else (net, compiled)
        x = torch.randn(2, 4)
        with inference(outer):
            assert not any(flags(net))
            assert torch.equal(compiled(x), compiled(x))
            with training(inner):
                assert compiled.training
                assert all(flags(net))
        assert flags(net) == MIXED

    def test_frozen_wrapper(self, net: Net) -> None:
        compiled = torch.compile(net, backend="eager")
        whole = nn.Sequential(compiled)
        with frozen(net):
            compiled.train()
            whole.train()
            with training(compiled):
                assert not any(flags(net))
        with frozen(compiled):
            net.train()
            assert not any(flags(net))
            assert is_frozen(net)

    def test_freezing_and_modes_do_not_recompile_more_than_the_flag_does(self) -> None:
        model = tn.TinyVisionMLP()
        counter = CompileCounter()
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        x = torch.randn(2, 1, 28, 28)
        for _ in range(3):
            with inference(model):
                compiled(x)
            with training(model):
                compiled(x)
        assert counter.frame_count == 2
        model.eval()
        with torch.inference_mode():
            compiled(x)
        assert counter.frame_count == 2

    def test_the_guard_stays_out_of_compiled_code(self) -> None:
        model = tn.TinyVisionMLP()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        with torch.inference_mode():
            compiled(torch.randn(2, 1, 28, 28))

    def test_blocks_inside_a_compiled_function(self) -> None:
        model = tn.TinyVisionMLP()

        @torch.compile(backend="eager")
        def step(x: Tensor) -> tuple[Tensor, Tensor]:
            with inference(model):
                quiet = model(x)
            with frozen(model), evaluating(model):
                other = model(x)
            return quiet, other + 1

        for _ in range(2):
            quiet, other = step(torch.randn(2, 1, 28, 28))
            assert quiet.is_inference()
            assert not other.requires_grad
            assert model.training
            assert not torch.is_inference_mode_enabled()

    def test_decorating_a_compiled_function_and_compiling_a_decorated_one(self) -> None:
        model, x = tn.TinyVisionMLP(), torch.randn(2, 1, 28, 28)
        outside = inference(model)(torch.compile(lambda x: model(x), backend="eager"))
        inside = torch.compile(inference(model)(lambda x: model(x)), backend="eager")
        assert outside(x).is_inference()
        assert inside(x).is_inference()
        assert model.training


@pytest.fixture
def process_group() -> Iterator[None]:
    if not dist.is_available():
        pytest.skip("torch is built without distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
        yield
        dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.usefixtures("process_group")
class TestDistributed:
    def test_ddp(self, net: Net) -> None:
        parallel = nn.parallel.DistributedDataParallel(net)
        freeze(net.fc)
        with inference(parallel):
            assert not any(flags(parallel))
            with training(parallel):
                assert flags(net) == [True, False, True, True]
            parallel(torch.randn(2, 4))
        parallel.train()
        assert not net.fc.training
        unfreeze(parallel)
        net.norm.eval()
        assert parallel.training

    def test_fsdp2(self, net: Net) -> None:
        from torch.distributed.fsdp import fully_shard

        freeze(net.fc)
        fully_shard(net.norm)
        fully_shard(net)
        with training(net):
            assert flags(net) == [True, False, True, True]
            net(torch.randn(2, 4)).sum().backward()
        with inference(net):  # torch itself fails if the very first forward is under inference_mode
            assert not any(flags(net))
            net(torch.randn(2, 4))
        unfreeze(net)
        assert all(parameter.requires_grad for parameter in net.parameters())
        with frozen(net):
            assert not any(parameter.requires_grad for parameter in net.parameters())
        assert all(parameter.requires_grad for parameter in net.parameters())


class TestExported:
    @pytest.fixture
    def program(self) -> torch.export.ExportedProgram:
        return torch.export.export(Net(), (torch.randn(2, 4),))

    @pytest.mark.slow
    @pytest.mark.parametrize("enter", [inference, evaluating, training, frozen, freeze])
    def test_refused_with_the_reason(self, program: torch.export.ExportedProgram, enter: type) -> None:
        for model in (program, program.module(), nn.Sequential(program.module())):
            with pytest.raises(tn.ModeError) as caught, enter(model):
                pass
            assert "export wrote the mode into the graph" in str(caught.value)
            assert "with tn.evaluating(model): program = torch.export.export" in str(caught.value)

    @pytest.mark.slow
    def test_a_frozen_model_exports(self) -> None:
        model = Net()
        freeze(model.fc)
        with evaluating(model):
            program = torch.export.export(model, (torch.randn(2, 4),))
        assert not any(type(module) is nn.Dropout for module in program.module().modules())


def _scripted(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        return torch.jit.script(model)


@pytest.mark.slow
def test_torchscript() -> None:
    scripted = _scripted(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2).eval()))
    with inference(scripted):
        assert not any(flags(scripted))
        x = torch.randn(4, 2)
        assert torch.equal(scripted(x), scripted(x))
    assert flags(scripted) == MIXED


def test_data_parallel_replicas_of_pickled_models(net: Net) -> None:
    freeze(net.fc)
    clone = pickle.loads(pickle.dumps(nn.DataParallel(net)))
    clone.train()
    assert not clone.module.fc.training
    unfreeze(net)
