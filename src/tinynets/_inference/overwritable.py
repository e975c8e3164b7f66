"""Find values of a graph that a relu, gelu or addition may overwrite, since they own their memory and have no
other readers; dropouts in eval mode, and the writes of a model that are allowed.
"""

# The types of graph nodes are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from .._torch.tracing.exported_graph import size_of
from .._torch.tracing.operators import can_decompose, is_operator, may_alias, packet_name, writes

_DROPOUTS = {f"aten.{kind}dropout" for kind in ("", "feature_", "alpha_", "feature_alpha_")}
_CHECKS = {"aten._assert_tensor_metadata"}  # checks of assumptions of the trace, which are tested elsewhere
# Composite operators, whose schema does not say so, but whose result is always a new tensor.
_COMPUTED = {
    f"aten.{name}"
    for name in (
        *(f"{kind}{n}d" for kind in ("conv", "max_pool", "avg_pool", "adaptive_avg_pool") for n in (1, 2, 3)),
        *("linear", "batch_norm", "layer_norm", "group_norm", "instance_norm", "softmax", "log_softmax"),
        *("scaled_dot_product_attention", "matmul", "embedding"),
    )
}
_OVERWRITABLE = {
    "aten.conv1d",
    "aten.conv2d",
    "aten.linear",
    "aten.batch_norm",
    "aten.layer_norm",
    "aten.add",
}


def is_dropped(node: Any) -> bool:
    """Return whether a node is a dropout in eval mode, which returns its argument."""
    return (
        node.op == "call_function"
        and is_operator(node.target)
        and packet_name(node.target) in _DROPOUTS
        and node.args[2] is False
    )


def computes(node: Any) -> bool:
    """Return whether a node is part of the model, not a check that the trace added."""
    return not is_operator(node.target) or packet_name(node.target) not in _CHECKS


def writes_to_fresh(node: Any) -> bool:
    """Return whether an operator that writes to its arguments writes only to results of the graph."""
    return all(place < len(node.args) and _is_fresh(node.args[place]) for place in writes(node.target))


def _is_fresh(node: Any) -> bool:
    if node.op != "call_function":
        return False
    target = node.target
    if is_operator(target) and not is_dropped(node):
        if writes(target):
            return writes_to_fresh(node)
        if packet_name(target) in _COMPUTED or not (may_alias(target) or can_decompose(target)):
            return True
    return all(map(_is_fresh, node.all_input_nodes))


def overwritable(node: Any, real: Callable[[Any], Any], uses: Mapping[Any, int]) -> int | None:
    """Return the position of the argument that may become the result of a node, or None.

    `real` finds the node behind dropouts, and `uses` says how many nodes are still to read one.
    """
    name = packet_name(node.target)
    places = (0, 1) if name == "aten.add" else (0,)
    if name not in ("aten.relu", "aten.gelu", "aten.add") or (name == "aten.add" and node.kwargs):
        return None
    if not all(isinstance(_value(node.args[place]), Tensor) for place in places):
        return None
    for place in places:
        one = real(node.args[place])
        made = is_operator(one.target) and packet_name(one.target) in _OVERWRITABLE
        if one.op == "call_function" and made and uses[one] == 1 and _alike(_value(one), _value(node)):
            return place
    return None


def _value(argument: Any) -> Any:
    return getattr(argument, "meta", {}).get("val")


def _alike(first: Tensor, second: Tensor) -> bool:
    sizes = [[size_of(size) for size in tensor.shape] for tensor in (first, second)]
    return first.dtype == second.dtype and first.device == second.device and sizes[0] == sizes[1]
