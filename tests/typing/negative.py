"""What type checkers must refuse: every line with an `# error` comment, and no other."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

import tinynets as tn

images = torch.rand(4, 1, 28, 28)
model = tn.TinyVisionMLP()

model("x", 3)  # error
model()  # error
model(images, images)  # error
model(pictures=images)  # error
model(images).no_such_method()  # error
number: int = model(images)  # error
model.no_such_layer(images)  # error

tn.TinyVisionMLP(256)  # error
tn.TinyVisionMLP(hidden="256")  # error
tn.TinyVisionMLP(hiden=256)  # error
tn.CifarMLP(hidden=256)  # error
tn.training("model")  # error
tn.list_models(family="convolution")  # error
tn.explain(model, modes=("training",))  # error
tn.explain(model, on="meta")  # error
tn.export(model, "model.pt", format="pt")  # error
tn.optimize_for_inference(model, backend="onnx")  # error
tn.testing.check_model(model, groups="bach")  # error
tn.testing.check_model(model, groups=["runs", "bach"])  # error
tn.testing.check_model(model, on_fail="explode")  # error
tn.testing.Options(groups=["bach"])  # error


class Own(tn.Module):
    def forward(self, first: Float[Tensor, "batch 784"], second: int = 0) -> Float[Tensor, "batch 784"]:
        return first + second


own = Own()
own("x")  # error
own(images, "y")  # error
own(images, third=1)  # error
text: str = own(images)  # error


@tn.contract
def normalise(batch: Float[Tensor, "batch 784"], *, scale: float = 1.0) -> Float[Tensor, "batch 784"]:
    return batch / scale


normalise("x")  # error
normalise(images, 2.0)  # error
