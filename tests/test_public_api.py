"""The public names are few and frozen; importing the package stays cheap."""

import subprocess
import sys

import pytest

import tinynets as tn

PUBLIC = {
    "CheckpointError",
    "CifarMLP",
    "ContractError",
    "DirectForwardWarning",
    "DtypeError",
    "ModeError",
    "Module",
    "Normalization",
    "ShapeError",
    "TinyVisionMLP",
    "checks",
    "contract",
    "create_model",
    "evaluating",
    "explain",
    "export",
    "freeze",
    "frozen",
    "inference",
    "list_models",
    "load",
    "load_exported",
    "mode_report",
    "models",
    "install_import_hook",
    "optimize_for_inference",
    "training",
    "unfreeze",
}


def test_public_names_are_the_ones_we_promise() -> None:
    assert set(tn.__all__) == PUBLIC
    assert all(hasattr(tn, name) for name in PUBLIC)


def test_error_classes_are_caught_as_jaxtyping_errors() -> None:
    from jaxtyping import TypeCheckError

    assert issubclass(tn.ContractError, TypeCheckError)
    assert all(issubclass(kind, tn.ContractError) for kind in (tn.ShapeError, tn.DtypeError, tn.ModeError))
    assert {kind.__module__ for kind in (tn.ContractError, tn.ShapeError, tn.DtypeError)} == {"tinynets"}


IMPORTED = """
import sys, torch
before = set(sys.modules)
import tinynets
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


@pytest.mark.slow
def test_importing_brings_in_only_what_it_needs() -> None:
    run = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    heavy = {
        "torchvision",
        "timm",
        "rich",
        "matplotlib",
        "mlxtend",
        "pandas",
        "scipy",
        "sklearn",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "IPython",
        "huggingface_hub",
    }
    assert not heavy & set(run.stdout.split())


@pytest.mark.slow
def test_importing_does_not_load_the_compiler() -> None:
    code = "import tinynets, sys; assert not {'torch._dynamo', 'tinynets._inference.optimize'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
