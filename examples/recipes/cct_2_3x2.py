"""CCT-2/3x2 as in its authors' short script: 200 epochs, 89.17 % on CIFAR-10."""

from recipe import Recipe, cosine, run
from torch.optim import AdamW
from torchvision.transforms import v2

RECIPE = Recipe(
    model="cct_2_3x2",
    accuracy="89.17 %",
    source="SHI-Labs/Compact-Transformers, examples/README.md",
    epochs=200,
    batch_size=128,
    augment=[
        v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        v2.RandomCrop(32, padding=4),
        v2.RandomHorizontalFlip(),
    ],
    optimizer=lambda model: AdamW(model.parameters(), lr=5e-4, weight_decay=3e-2),
    schedule=cosine(warmup=5),
    label_smoothing=0.1,
)

if __name__ == "__main__":
    raise SystemExit(run(RECIPE))
