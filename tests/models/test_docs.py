"""The pages about the models say what the models are; `python -m tests.models.test_docs` writes what they show."""

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

from ..zoo_names import SWEPT

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
API = PAGE.parent / "api" / "models.md"
PICTURES = PAGE.parent / "pictures"

# The modules drawn beside the first model of a family.
BESIDE = {
    "vgg": ("stage3",),
    "mobilenet": ("blocks.2",),
    "googlenet": ("stage3.0",),
    "shufflenet": ("layer1.1",),
    "efficientnet": ("stage2.1",),
    "repvgg": ("stage1.0",),
    "convnext": ("stage2", "stage2.blocks.0"),
    "airbench": ("group1",),
    "resnet": ("layer2.0",),
    "resnet_deep": ("layer2.0",),
    "resnet9": ("layer1",),
    "preact_resnet": ("layer2.0",),
    "se_resnet": ("layer2.0", "layer2.0.se"),
    "resnext": ("layer2.0",),
    "wide_resnet": ("layer2.0",),
    "densenet": ("block1.layers.0",),
    "convmixer": ("blocks.0",),
    "mixer": ("blocks.0",),
    "vit": ("blocks.0",),
    "vit_tiny": ("blocks.0",),
    "cct": ("blocks.0",),
}
# Each family and the model that its picture shows: the first one in the list.
SHOWN = {entry.module: name for name, entry in reversed(MODELS.items())}
FAMILIES = list(dict.fromkeys(entry.module for entry in MODELS.values()))


def provenance(model: type[ImageClassifier]) -> tuple[str, str]:
    """Read off the docstring of a class what it is compared with, and how it differs from its paper."""
    text = " ".join((inspect.getdoc(model) or "").split())
    found = re.search(r"Parity partner: ([^.]+)\.(?: Differs from the paper: ([^.]+)\.)?", text)
    assert found, f"the docstring of {model.__name__} has no line 'Parity partner: ...'"
    return found[1], found[2] or "no paper"


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
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(images)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        macs = counter.get_total_flops() // 2
        arxiv = re.search(r"arXiv (\d{4}\.\d{4,5})", inspect.getdoc(type(model)) or "")
        paper = f"[{arxiv[1]}](https://arxiv.org/abs/{arxiv[1]})" if arxiv else "-"
        partner, deviation = provenance(type(model))
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
        with torch.no_grad():
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
    with torch.device("meta"):
        model = create_model(SHOWN[family]).eval()
    inside = map(model.get_submodule, BESIDE.get(family, ()))
    beside = [create_model("cifar_mlp").eval()] if family == "mlp" else inside
    with torch.no_grad():  # a picture does not show what is saved for backward
        return [tn.explain(model), *(tn.explain(module) for module in beside)]


def gallery() -> str:
    """Lay out the pictures, each under the classes of its family and what the file says of itself."""
    parts: list[str] = []
    for family in FAMILIES:
        classes = dict.fromkeys(entry.class_name for entry in MODELS.values() if entry.module == family)
        names = ", ".join(f"`{each}`" for each in classes)
        caption = (sys.modules[MODELS[SHOWN[family]].model.__module__].__doc__ or "").split("\n")[0]
        alt = f"The forward pass of {SHOWN[family]}, with the shape on every arrow"
        parts.append(f"### {names}\n\n{caption}\n\n![{alt}](pictures/{family}.svg)")
    return "\n\n".join(parts)


def api_entries() -> str:
    """Lay out the directives that show the docstring of every class."""
    modules = {entry.class_name: entry.module for entry in MODELS.values()}
    return "".join(
        f"\n::: tinynets.models.{module}.{name}\n    options:\n      heading: tinynets.models.{name}\n"
        for name, module in modules.items()
    )


def rewritten(page: str) -> str:
    contents = {
        "models": model_table,
        "pictures": gallery,
        "shapes": lambda: f"```text\n{shape_table()}\n```",
        "classes": api_entries,
    }
    for marker, write in contents.items():
        if f"<!-- {marker}: generated -->" not in page:
            continue
        content = write()
        block = f"<!-- {marker}: generated -->\n{content}\n<!-- end -->"
        page = re.sub(rf"<!-- {marker}: generated -->.*?<!-- end -->", lambda _, b=block: b, page, flags=re.S)
    return page


@pytest.mark.slow
@pytest.mark.parametrize("page", [PAGE, API], ids=["models", "api"])
def test_the_page_is_up_to_date(page: Path):
    text = page.read_text()
    assert ": generated -->" in text
    assert text == rewritten(text), "run make generate"


@pytest.mark.parametrize(
    "family",
    [
        family if family == "lenet" else pytest.param(family, marks=pytest.mark.slow)
        for family in FAMILIES
        if SHOWN[family] in SWEPT
    ],
)
def test_the_picture_is_up_to_date(family: str, tmp_path: Path):
    explanations = explained(family)
    drawn = explanations[0].to_svg(tmp_path / "drawn.svg", *explanations[1:])
    kept = PICTURES / f"{family}.svg"
    assert kept.read_text(encoding="utf-8") == drawn.read_text(encoding="utf-8"), "run make generate"
    assert sum(len(flow(each.run.frame).boxes) for each in explanations) <= 18


def test_every_family_has_a_picture():
    assert {path.stem for path in PICTURES.glob("*.svg")} == set(FAMILIES) >= set(BESIDE)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for family in FAMILIES:
        model, *beside = explained(family)
        model.to_svg(PICTURES / f"{family}.svg", *beside)
    for written in (PAGE, API):
        written.write_text(rewritten(written.read_text()))
