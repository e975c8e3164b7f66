"""Other libraries' models: the table in docs/explain.md, row by row. Run where they are installed (`make parity`)."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tinynets as tn

from .arrows import arrows_of_fx, arrows_of_picture

DOCS = Path(__file__).parents[2] / "docs" / "explain.md"
ROW = re.compile(
    r"^\| (torchvision|timm) ?([a-z_ ]*)`(\w+)` \| (\w+) \| (\d+) \| ([^|=]*?)( =)? \| [\d.]+ \|$",
    re.MULTILINE,
)
Row = tuple[str, str, str, str, str, str, str]
ROWS: list[Row] = ROW.findall(DOCS.read_text(encoding="utf-8"))


def made(library: str, kind: str, name: str) -> tuple[nn.Module, list[object]]:
    """Return a model without weights, and what it takes."""
    partner = pytest.importorskip(library, reason="the partner libraries are not installed here")
    version = re.search(rf"{library} ([\d.]+\d)", DOCS.read_text(encoding="utf-8"))
    if version is None or version[1] != partner.__version__.partition("+")[0]:
        pytest.skip(f"the table is of another version than {library} {partner.__version__}")
    if library == "timm":
        return partner.create_model(name), ["batch=2 3 224 224"]
    torch.manual_seed(0)  # what a detector finds, it computes on
    get_model = importlib.import_module("torchvision.models").get_model
    match kind:
        case "segmentation":
            return get_model(name, weights=None, weights_backbone=None), ["batch=2 3 224 224"]
        case "detection":
            return get_model(name, weights=None, weights_backbone=None), [[torch.rand(3, 320, 320)]]
        case "optical_flow":
            return get_model(name, weights=None), ["batch 3 128 128"] * 2
        case "video":
            return get_model(name, weights=None), ["batch=2 3 16 112 112"]
        case _:
            more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            size = 299 if name == "inception_v3" else 224
            return get_model(name, weights=None, **more), [f"batch=2 3 {size} {size}"]


def test_the_table_has_enough_models() -> None:
    text = DOCS.read_text(encoding="utf-8")
    found = re.search(
        r"^(\d+) forward passes.*?: (\d+) symbolic,\s(\d+) real", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    methods = [row[3] for row in ROWS]
    assert [len(ROWS), methods.count("symbolic"), methods.count("real")] == [int(n) for n in found.groups()]
    assert len(ROWS) == len(re.findall(r"^\| (?:torchvision|timm) ", text, re.MULTILINE)) >= 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[2]}")
def test_a_row_says_what_happens(row: Row) -> None:
    library, kind, name, method, lines, macs, counted = row
    model, inputs = made(library, kind.strip(), name)
    run = tn.explain(model.eval(), *inputs).run
    assert (run.method, run.error, run.tied, bool(run.reason)) == (method, "", (), method == "real")
    assert run.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (len(list(run.frame.walk())), run.macs.formula) == (int(lines), macs)
    if counted:
        with torch.device("meta"):
            images = torch.empty(run.frame.arguments[0].sizes)
        with FlopCounterMode(display=False) as counter:
            model.to("meta")(images)
        assert run.macs.value == counter.get_total_flops() // 2


CLASSIFIERS = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 mnasnet0_5 mobilenet_v2"
    " mobilenet_v3_small regnet_y_400mf resnet18 shufflenet_v2_x0_5 squeezenet1_1 swin_t vgg11"
)
BLOCKS = [
    ("resnet18", "layer2.0", "batch=2 64 8 8"),
    ("resnet50", "layer1.0", "batch=2 64 8 8"),
    ("googlenet", "inception3a", "batch=2 192 28 28"),
    ("inception_v3", "Mixed_6b", "batch=2 768 17 17"),
    ("inception_v3", "Mixed_7b", "batch=2 1280 17 17"),
    ("squeezenet1_1", "features.3", "batch=2 64 8 8"),
    ("shufflenet_v2_x0_5", "stage2.0", "batch=2 24 28 28"),
    ("mobilenet_v3_small", "features.1.block.1", "batch=2 16 8 8"),
    ("densenet121", "features.denseblock1.denselayer1", "batch=2 64 8 8"),
    ("vit_b_16", "encoder.layers.encoder_layer_0", "batch=2 5 768"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CLASSIFIERS.split())
def test_the_picture_has_the_arrows_of_the_graph(name: str) -> None:
    model, inputs = made("torchvision", "", name)
    assert arrows_of_picture(model.eval(), *inputs) == arrows_of_fx(model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "path", "shape"), BLOCKS, ids=lambda text: text.split("=")[0])
def test_the_picture_of_a_block_has_the_arrows_of_its_graph(name: str, path: str, shape: str) -> None:
    block = made("torchvision", "", name)[0].eval().get_submodule(path)
    assert arrows_of_picture(block, shape) == arrows_of_fx(block)
