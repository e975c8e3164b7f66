"""Which submodule's result goes into which: as the picture draws it, and as torch.fx traces it."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

import tinynets as tn
from tinynets._explain.render.flow import flow

Arrows = set[tuple[str, str]]
OUTPUT = "<output>"


class _OneLevel(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return "." not in module_qualified_name


def arrows_of_fx(model: nn.Module) -> Arrows:
    """Return pairs of children and arguments such that the result of the first reaches the second."""
    sources: dict[Any, set[str]] = {}
    arrows: Arrows = set()
    for node in _OneLevel().trace(model).nodes:
        given = set[str]().union(*(sources[source] for source in node.all_input_nodes))
        sources[node] = given
        if node.op == "placeholder":
            sources[node] = {str(node.target)}
        elif node.op in ("call_module", "output"):
            name = OUTPUT if node.op == "output" else str(node.target)
            arrows |= {(source, name) for source in given}
            sources[node] = {name}
    return arrows


def arrows_of_picture(model: nn.Module, *inputs: Any) -> Arrows:
    """Return the same pairs from the boxes and arrows of the picture."""
    drawn = flow(tn.explain(model, *inputs).run.frame)
    children = {name for name, _ in model.named_children()}
    made: list[set[str]] = []
    arrows: Arrows = set()
    for index, box in enumerate(drawn.boxes):
        given = set[str]().union(*(made[start] for start, end in drawn.arrows if end == index))
        if box.kind == "input":
            made.append({box.title})
            continue
        made.append(set())
        for chain in box.title.split(", ") if "[" not in box.title else [""]:
            latest = given
            for call in chain.split(" > "):
                name = call.partition("  x")[0].partition(".")[0]
                if name in children:
                    arrows |= {(source, name) for source in latest if source != name}
                    latest = {name}
            made[-1] |= latest
        if box.kind == "output":
            arrows |= {(source, OUTPUT) for source in made[-1]}
    return arrows
