"""A forward with axes of the module, and a return that is checked already."""

from jaxtyping import Float
from torch import Tensor, nn

import tinynets as tn


class Target(tn.Module):
    """Two layers."""

    hidden: int
    num_classes: int

    def __init__(self, *, hidden: int = 8, num_classes: int = 3) -> None:
        super().__init__()
        self.hidden, self.num_classes = hidden, num_classes
        self.fc1, self.fc2 = nn.Linear(4, hidden), nn.Linear(hidden, num_classes)

    def forward(self, images: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        first: Float[Tensor, "batch hidden"] = self.fc1(images).relu()
        logits: Float[Tensor, "batch num_classes"] = self.fc2(first)
        return logits
