"""ResNet-20 as in its paper: 64,000 steps, 91.25 % on CIFAR-10.

Differs: channels are normalised by mean and standard deviation; the paper subtracts the mean of each pixel.
"""

from recipe import Recipe, drops, run
from torch.optim import SGD
from torchvision.transforms import v2

RECIPE = Recipe(
    model="resnet20",
    accuracy="91.25 %",
    source="arXiv 1512.03385, table 6",
    epochs=164,
    batch_size=128,
    augment=[v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()],
    optimizer=lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
    schedule=drops(0.1, 0.5, 0.75),
)

if __name__ == "__main__":
    raise SystemExit(run(RECIPE))
