"""The script and its benchmark as modules, a small model, and a server of it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

import tinynets as tn

from ..conftest import EXAMPLES

BENCHMARKS = EXAMPLES.parent / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def paths() -> Iterator[None]:
    importlib.import_module(".client", __package__)  # it skips the tests where a package is missing
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)  # for its `harness`
        patch.syspath_prepend(EXAMPLES)
        yield


@pytest.fixture(scope="module")
def serve(paths: None) -> ModuleType:
    return importlib.import_module("serve")


@pytest.fixture(scope="module")
def benchmark(paths: None) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_serve", BENCHMARKS / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def model() -> tn.Module:
    torch.manual_seed(0)
    return tn.TinyVisionMLP(hidden=32).train()  # the server has to do what is needed


@pytest.fixture(scope="module")
def port(serve: ModuleType, model: tn.Module) -> Iterator[int]:
    from .client import running

    with running(serve.application(model)) as (_, port):
        yield port
