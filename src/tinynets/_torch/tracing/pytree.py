"""Flatten and map nested containers of tensors, such as the arguments and results of a forward.

Torch has this only under a private name, but `torch.export`, `torch.func` and user code all rely on it: a
class registered there is a container for all of them. If torch publishes it, or drops it for `optree`, change
this file.
"""

from typing import Any, cast

from torch.utils._pytree import SUPPORTED_NODES
from torch.utils._pytree import keystr as keystr
from torch.utils._pytree import tree_flatten as tree_flatten
from torch.utils._pytree import tree_flatten_with_path as tree_flatten_with_path
from torch.utils._pytree import tree_leaves as tree_leaves
from torch.utils._pytree import tree_map as tree_map
from torch.utils._pytree import tree_map_only as tree_map_only
from torch.utils._pytree import tree_unflatten as tree_unflatten
from torch.utils._pytree import treespec_loads as treespec_loads


def children(value: Any) -> list[Any] | None:
    """Return the items of a value of a registered class, one level deep; None for any other value."""
    node = SUPPORTED_NODES.get(cast("type[Any]", type(value)))
    return None if node is None else list(node.flatten_fn(value)[0])
