"""ResNet-18 with cutout, 96.01 % on CIFAR-10.

Differs: the erased square of 16x16 pixels is entirely inside the image; in the paper it may cross the edge.
"""

from recipe import Recipe, drops, run
from torch.optim import SGD
from torchvision.transforms import v2

RECIPE = Recipe(
    model="resnet18_cifar",
    accuracy="96.01 %",
    source="arXiv 1708.04552, table 1",
    epochs=200,
    batch_size=128,
    augment=[v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()],
    normalized=[v2.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))],
    optimizer=lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    schedule=drops(0.2, 0.3, 0.6, 0.8),
)

if __name__ == "__main__":
    raise SystemExit(run(RECIPE))
