"""WRN-16-4, trained like the wide residual nets in its authors' code."""

from recipe import Recipe, drops, run
from torch.optim import SGD
from torchvision.transforms import v2

RECIPE = Recipe(
    model="wrn_16_4",
    accuracy="none for 16-4; 95.47 % for WRN-40-4",
    source="arXiv 1605.07146, table 5",
    epochs=200,
    batch_size=128,
    augment=[v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4, padding_mode="reflect")],
    optimizer=lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
    schedule=drops(0.2, 0.3, 0.6, 0.8),
)

if __name__ == "__main__":
    raise SystemExit(run(RECIPE))
