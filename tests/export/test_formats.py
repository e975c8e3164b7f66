"""Models of the zoo in every format: the same logits, at any batch and size, with and without tinynets."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tinynets as tn

from ..zoo_names import SWEPT
from . import nets

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export")]

ANY_SIZE = ["vgg16_cifar", "airbench94"]  # pools and pads; resnet20 is among those below
ONNX = ["lenet5", "resnet20", "simple_vit"]


@pytest.mark.parametrize("name", SWEPT)
def test_the_zoo_as_programs(name: str, tmp_path: Path) -> None:
    model = nets.trained(name)
    batches = [nets.images_for(model, batch) for batch in (1, 3, 7)]
    tn.export(model, tmp_path / "model.pt2", "batch {} {} {}".format(*batches[0].shape[1:]))
    nets.agree(tn.load_exported(tmp_path / "model.pt2"), model, *batches)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_images_of_every_size(name: str, tmp_path: Path) -> None:
    model = nets.trained(name)
    tn.export(model, tmp_path / "model.pt2")
    loaded = tn.load_exported(tmp_path / "model.pt2")
    nets.agree(loaded, model, *(torch.rand(1, 3, 32 + more, 41) for more in (0, 1, 7, 32)))


@pytest.mark.parametrize("name", ONNX)
def test_the_zoo_as_onnx(name: str, tmp_path: Path) -> None:
    import onnx

    model = nets.trained(name)
    tn.export(model, tmp_path / "model.onnx")
    loaded = tn.load_exported(tmp_path / "model.onnx")
    nets.agree(loaded, model, *(nets.images_for(model, batch) for batch in (1, 3, 7)))
    graph = onnx.load(tmp_path / "model.onnx").graph
    shape = lambda value: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]  # noqa: E731
    sizes = ["height", "width"] if not hasattr(model, "image_size") else [model.image_size] * 2
    assert [(value.name, shape(value)) for value in graph.input] == [
        ("images", ["batch", model.in_channels, *sizes])
    ]
    assert [(value.name, shape(value)) for value in graph.output] == [("output", ["batch", 10])]
    if "height" in sizes:
        nets.agree(loaded, model, torch.rand(2, 3, 45, 37))


def test_onnx_with_two_arguments_and_two_outputs(tmp_path: Path) -> None:
    model = nets.Tagger()
    tn.export(model, tmp_path / "tagger.onnx", "batch tokens", "bool[batch tokens]")
    ids, mask = torch.randint(50, (3, 5)), torch.rand(3, 5) > 0.5
    with tn.inference(model):
        expected = model(ids, mask)
    torch.testing.assert_close(tn.load_exported(tmp_path / "tagger.onnx")(ids, mask), expected)
    assert str(Path(__file__).parent).encode() not in (tmp_path / "tagger.onnx").read_bytes(), (
        "no paths of this disk"
    )


def test_compiled_logits_at_every_batch(aoti: Path, model: tn.Module) -> None:
    loaded = tn.load_exported(aoti)
    nets.agree(loaded, model, *(nets.images_for(model, batch) for batch in (1, 3, 7)))
    # The library itself would take these 784 numbers, and return logits of scrambled pixels.
    with pytest.raises(tn.ShapeError, match="the images look channels-last"):
        loaded(torch.rand(3, 28, 28, 1))


def test_compiled_images_of_every_size(aoti: Path, tmp_path: Path) -> None:
    del aoti  # skips where there is no compiler
    torch.manual_seed(0)
    model = nets.AnySize()
    tn.export(model, tmp_path / "any_size.pt2", format="aoti")
    loaded = tn.load_exported(tmp_path / "any_size.pt2")
    nets.agree(loaded, model, *(torch.rand(batch, 3, 20 + batch, 31) for batch in (1, 3, 7)))


ALONE = """
import sys
sys.modules["tinynets"] = None
images = {images}
{run}
assert not any(name.startswith("tinynets.") for name in sys.modules)
print(repr(logits))
"""
RUN = {
    "pt2": "import torch; logits = torch.export.load({path!r}).module()(torch.tensor(images)).tolist()",
    "aoti": "import torch; logits = torch._inductor.aoti_load_package({path!r})(torch.tensor(images)).tolist()",
    # Not even torch.
    "onnx": "sys.modules['torch'] = None; import numpy, onnxruntime; "
    "logits = onnxruntime.InferenceSession({path!r}).run(None, {{'images': numpy.float32(images)}})[0].tolist()",
}


@pytest.mark.parametrize("format", RUN)
def test_a_process_without_tinynets(request: pytest.FixtureRequest, model: tn.Module, format: str) -> None:
    path = str(request.getfixturevalue(format))
    images = nets.images_for(model, 2)
    code = ALONE.format(images=images.tolist(), run=RUN[format].format(path=path))
    run = subprocess.run(
        [sys.executable, "-"], input=code, capture_output=True, text=True, check=True, timeout=120
    )
    with tn.inference(model):
        torch.testing.assert_close(torch.tensor(eval(run.stdout)), model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch, where it is called without our filter
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_an_onnx_export_says_nothing_of_torchvision(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("torch")
    log.addHandler(caplog.handler)
    try:
        tn.export(tn.TinyVisionMLP(), tmp_path / "model.onnx")
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        exported = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
        torch.onnx.export(exported, dynamo=True, verbose=False)
        assert "torchvision is not installed" in caplog.text, "torch says it no more: remove the filter"
    finally:
        log.removeHandler(caplog.handler)
