"""Private names of torch stand in `_torch/` and nowhere else, so that a new torch is a change of one folder."""

import re
from pathlib import Path

import pytest

import tinynets

SOURCE = Path(tinynets.__file__).parent
PRIVATE = re.compile(
    r"""
    torch(\.\w+)*\._[a-zA-Z]\w*                          # torch._C, torch.utils._pytree
    | from\ torch[\w.]*\ import\ .*(?<![\w.])_[a-zA-Z]\w*   # from torch.utils import _pytree
    | torch\.fx\.experimental
    | reportPrivateUsage
    | \._(parameters|buffers|modules|non_persistent_buffers_set)\b
    | (?<![ .])\._version\b
    | \b_((forward|backward|post_accumulate_grad|state_dict|load_state_dict)(_pre|_post)?_hooks\w*)\b
    | ["']_(parameters|buffers|modules)["']
    """,
    re.VERBOSE,
)


def private_names(text):
    # `sys._getframe` is Python's own, and documented.
    lines = [line.strip() for line in text.splitlines() if "sys._getframe" not in line]
    return [line for line in lines if PRIVATE.search(line.replace("self._", ""))]


def files():
    return [path for path in sorted(SOURCE.rglob("*.py")) if "_torch" not in path.relative_to(SOURCE).parts]


def test_no_private_name_of_torch():
    found = {str(path.relative_to(SOURCE)): private_names(path.read_text()) for path in files()}
    assert len(found) > 200
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "line",
    [
        "state = torch._C._get_tracing_state()",
        "from torch._dynamo.source import ConstantSource",
        "from torch.utils import _pytree as pytree",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "from torch.utils._python_dispatch import TorchDispatchMode",
        "import torch.fx.experimental.symbolic_shapes",
        "for child in module._modules.values():",
        'own["_parameters"]',
        "module._forward_pre_hooks.clear()",
        "tensor._version",
    ],
)
def test_a_private_name_is_found(line):
    assert private_names(line)


@pytest.mark.parametrize(
    "line", ["import torch", "from torch.func import vmap", "self._modules_seen = 1", "x._torch"]
)
def test_a_public_name_is_not_found(line):
    assert not private_names(line)
