"""CCT-7/3x1 with mixup and CutMix: 300 epochs, 96.53 % on CIFAR-10.

Differs: torchvision's RandAugment of magnitude 9, where the authors use timm's `rand-m9-mstd0.5-inc1`; no
cool-down, and mixing to the end, where they stop after 175 epochs; random crop without random scale.
"""

from recipe import Recipe, cosine, run
from torch.optim import AdamW
from torchvision.transforms import v2

RECIPE = Recipe(
    model="cct_7_3x1",
    accuracy="96.53 %",
    source="SHI-Labs/Compact-Transformers, configs/pretrained/cct_7-3x1_cifar10_300epochs.yml",
    epochs=300,
    batch_size=128,
    augment=[
        v2.RandomCrop(32, padding=4),
        v2.RandomHorizontalFlip(),
        v2.RandAugment(num_ops=2, magnitude=9),
    ],
    mix=v2.RandomChoice([v2.MixUp(alpha=0.8, num_classes=10), v2.CutMix(alpha=1.0, num_classes=10)]),
    optimizer=lambda model: AdamW(model.parameters(), lr=55e-5, weight_decay=6e-2),
    schedule=cosine(warmup=10),
    label_smoothing=0.1,
)

if __name__ == "__main__":
    raise SystemExit(run(RECIPE))
