"""One export of each kind for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinynets as tn

from . import nets


@pytest.fixture(scope="session")
def model() -> tn.models.ImageClassifier:
    return nets.trained("tiny_vision_mlp")


@pytest.fixture(scope="session")
def pt2(model: tn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported(model, tmp_path_factory, "model.pt2", "pt2")


@pytest.fixture(scope="session")
def onnx(model: tn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported(model, tmp_path_factory, "model.onnx", "onnx")


@pytest.fixture(scope="session")
def aoti(model: tn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("AOTInductor needs a C++ compiler, and there is none here")
    return _exported(model, tmp_path_factory, "model.pt2", "aoti")


def _exported(model: tn.Module, factory: pytest.TempPathFactory, name: str, format: str) -> Path:
    path = factory.mktemp(format) / name
    tn.export(model, path, format=format)
    return path
