"""`tn.optimize_for_inference` on the models of torchvision and timm: the model's bits, or a reason why not."""

from __future__ import annotations

import pytest
import torch

import tinynets as tn

pytest.importorskip("timm", reason="`make parity` installs it")

from .conformance_nets import NETS

ASSIGNS = "forward changes attributes of the model"  # a table of biases, made in eval mode
REFUSED = {
    "timm levit_128s": ASSIGNS,
    "timm tiny_vit_5m_224": ASSIGNS,
    "timm efficientformer_l1": ASSIGNS,
    "timm convit_tiny": ASSIGNS,
}
# With every size free, torch works for a minute or more on the arithmetic of their sizes.
TAKE_A_MINUTE = {
    "torchvision swin_t",
    "torchvision swin_v2_t",
    "torchvision maxvit_t",
    "timm tf_efficientnet_b0",
}
NAMES = [name for name in list(NETS)[:38] if name not in TAKE_A_MINUTE]


@pytest.fixture(autouse=True)
def single_precision() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_the_bits_of_the_model(name: str) -> None:
    torch.manual_seed(0)
    model = NETS[name].make().eval()
    (shape,) = NETS[name].inputs
    if name in REFUSED:
        with pytest.raises(ValueError, match=f"cannot be optimized for inference: .*{REFUSED[name]}"):
            tn.optimize_for_inference(model, shape)
        return
    fast = tn.optimize_for_inference(model, shape)
    for batch in (1, 2, 3):
        images = torch.randn(batch, *map(int, shape.split()[1:]))
        with tn.inference(model):
            expected = model(images)
        fast(images)  # may be the model's own, to be traced
        found = fast(images)
        assert not fast.reason
        ours, theirs = (torch.utils._pytree.tree_leaves(output) for output in (found, expected))
        assert len(ours) == len(theirs)
        assert all(map(torch.equal, ours, theirs))
