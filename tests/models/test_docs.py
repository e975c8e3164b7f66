"""The page about the models says what the models are; `python tests/models/test_docs.py` rewrites what it shows."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tinynets as tn
from tinynets._explain.render.flow import flow
from tinynets.models import ImageClassifier, create_model, list_models
from tinynets.models.registry import MODELS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
PICTURES = PAGE.parent / "pictures"
TORCHVISION, TIMM, PAPER = "torchvision", "timm", "reference in the test"

# Partner of the parity test, and how the net differs from its paper.
PROVENANCE = {
    "TinyVisionMLP": ("plain layers", "no paper"),
    "CifarMLP": ("plain layers", "no paper"),
    "LeNet5": (PAPER, "ReLU, max pooling, full connections, linear output"),
    "Vgg16Cifar": (TORCHVISION, "BatchNorm; one linear layer as head"),
    "MobileNetV2Cifar": (TORCHVISION, "stride 1 in the stem and at 24 channels"),
    "Airbench94Net": (PAPER, "global max pooling (the same at 32 px)"),
    "CifarResNet": (PAPER, "none (with shortcut A)"),
    "ResNet18Cifar": (f"{TORCHVISION}, {TIMM}", "3x3 stem, no max pooling"),
    "WideResNet": (PAPER, "none"),
    "DenseNetBC": (TORCHVISION, "none"),
    "ConvMixer": (TIMM, "none"),
    "MlpMixer": (TIMM, "a size of our choice"),
    "SimpleViT": (TIMM, "a size of our choice"),
    "CCT": (PAPER, "none; learned positions"),
}

# What the picture of a family shows: a model, and the modules in it that are drawn beside it.
SHOWN = {
    "mlp": ("tiny_vision_mlp", ()),
    "lenet": ("lenet5", ()),
    "vgg": ("vgg16_cifar", ("stage3",)),
    "mobilenet": ("mobilenet_v2_cifar", ("blocks.2",)),
    "airbench": ("airbench94", ("group1",)),
    "resnet": ("resnet20", ("layer2.0",)),
    "wide_resnet": ("wrn_16_4", ("layer2.0",)),
    "densenet": ("densenet_bc_100_12", ("block1.layers.0",)),
    "convmixer": ("convmixer_256_8", ("blocks.0",)),
    "mixer": ("mlp_mixer", ("blocks.0",)),
    "vit": ("simple_vit", ("blocks.0",)),
    "cct": ("cct_2_3x2", ("blocks.0",)),
}


def images_for(model: ImageClassifier, batch: int = 1) -> torch.Tensor:
    size = getattr(model, "image_size", 28 if type(model).__name__ == "TinyVisionMLP" else 32)
    channels = getattr(model, "in_channels", 1 if size == 28 else 3)
    return torch.zeros(batch, channels, size, size)


def input_sizes(name: str) -> str:
    sizes = MODELS[name].sizes
    if len(sizes[:2]) == 1:
        return f"{sizes[0]}"
    if "image_size" in inspect.signature(MODELS[name].model).parameters:
        return f"`image_size`, multiples of {sizes.step}" if sizes.step > 1 else f"`image_size` >= {sizes[0]}"
    return f"any >= {sizes[0]}"


def model_table() -> str:
    """Lay out what is known of every name; parameters and multiply-adds are counted."""
    rows = [
        "| name | class | parameters | MACs | input | sizes | paper | parity partner | differs from the paper |"
    ]
    rows += ["| :-- | :-- | --: | --: | :-- | :-- | :-- | :-- | :-- |"]
    for name in list_models():
        with torch.device("meta"):
            model = create_model(name).eval()
            images = images_for(model)
            with FlopCounterMode(display=False) as counter:
                model(images)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        macs = counter.get_total_flops() // 2
        arxiv = re.search(r"arXiv (\d{4}\.\d{4,5})", inspect.getdoc(type(model)) or "")
        paper = f"[{arxiv[1]}](https://arxiv.org/abs/{arxiv[1]})" if arxiv else "-"
        partner, deviation = PROVENANCE[type(model).__name__]
        shape = "x".join(map(str, images.shape[1:]))
        cells = [f"`{name}`", f"`{type(model).__name__}`", f"{parameters:,}", f"{macs / 1e6:,.1f} M", shape]
        rows.append("| " + " | ".join([*cells, input_sizes(name), paper, partner, deviation]) + " |")
    return "\n".join(rows)


def shape_table() -> str:
    """Lay out the shapes along one forward pass of every class."""
    lines: list[str] = []
    seen: set[str] = set()
    for name in list_models():
        with torch.device("meta"):
            model = create_model(name).eval()
            if type(model).__name__ in seen:
                continue
            seen.add(type(model).__name__)
            images = images_for(model)
            maps = model.feature_maps(images)
            features = model.forward_features(images)
            pooled = model.forward_head(features, pre_logits=True)
            logits = model(images)
        steps = [("images", images), *maps.items()]
        # A row of equal blocks is one step: its first and last name say which.
        shown: list[str] = []
        group: list[str] = []
        for i, (step, tensor) in enumerate(steps):
            group.append(step)
            if i + 1 == len(steps) or steps[i + 1][1].shape != tensor.shape:
                label = group[0] if len(group) == 1 else f"{group[0]} .. {group[-1]}"
                shown.append(f"{label} {shape_of(tensor)}")
                group = []
        shown += [
            f"features {shape_of(features)}",
            f"pre-logits {shape_of(pooled)}",
            f"logits {shape_of(logits)}",
        ]
        lines += [f"{type(model).__name__} ({name})", *(f"    {step}" for step in shown), ""]
    return "\n".join(lines).rstrip()


def shape_of(tensor: torch.Tensor) -> str:
    return f"[batch {' '.join(map(str, tensor.shape[1:]))}]"


def explained(family: str) -> list[tn.Explanation]:
    """Explain the model that stands for a family, and what is drawn beside it."""
    name, inside = SHOWN[family]
    with torch.device("meta"):
        model = create_model(name).eval()
    beside = [create_model("cifar_mlp").eval()] if family == "mlp" else map(model.get_submodule, inside)
    return [tn.explain(model), *(tn.explain(module) for module in beside)]


def gallery() -> str:
    """Lay out the pictures, each under the classes of its family and what the file says of itself."""
    parts: list[str] = []
    for family, (name, _) in SHOWN.items():
        module = sys.modules[type(create_model(name)).__module__]
        classes = dict.fromkeys(entry.class_name for entry in MODELS.values())
        names = ", ".join(f"`{each}`" for each in classes if hasattr(module, each))
        caption = (module.__doc__ or "").split("\n")[0]
        alt = f"The forward pass of {name}, with the shape on every arrow"
        parts.append(f"### {names}\n\n{caption}\n\n![{alt}](pictures/{family}.svg)")
    return "\n\n".join(parts)


def rewritten(page: str) -> str:
    contents = {
        "models": model_table(),
        "pictures": gallery(),
        "shapes": f"```text\n{shape_table()}\n```",
    }
    for marker, content in contents.items():
        block = f"<!-- {marker}: generated -->\n{content}\n<!-- end -->"
        page = re.sub(rf"<!-- {marker}: generated -->.*?<!-- end -->", lambda _, b=block: b, page, flags=re.S)
    return page


@pytest.mark.slow
def test_the_page_is_up_to_date():
    page = PAGE.read_text()
    assert page == rewritten(page), "run python tests/models/test_docs.py"


@pytest.mark.parametrize(
    "family",
    [name if name in ("lenet", "mixer") else pytest.param(name, marks=pytest.mark.slow) for name in SHOWN],
)
def test_the_picture_is_up_to_date(family: str, tmp_path: Path):
    explanations = explained(family)
    drawn = explanations[0].to_svg(tmp_path / "drawn.svg", *explanations[1:])
    kept = PICTURES / f"{family}.svg"
    assert kept.read_text(encoding="utf-8") == drawn.read_text(encoding="utf-8"), "run python tests/models/test_docs.py"
    assert sum(len(flow(each.run.frame).boxes) for each in explanations) <= 18


def test_every_family_has_a_picture():
    modules = {entry.model.__module__.rpartition(".")[2] for entry in MODELS.values()}
    assert modules == set(SHOWN) == {path.stem for path in PICTURES.glob("*.svg")}


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for family in SHOWN:
        model, *beside = explained(family)
        model.to_svg(PICTURES / f"{family}.svg", *beside)
    PAGE.write_text(rewritten(PAGE.read_text()))
