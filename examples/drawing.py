"""The report of a training run as a picture: curves of its epochs beside held-out images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

from data import Data
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


class Epoch(NamedTuple):
    loss: float
    held_out_accuracy: float


def draw(data: Data, logits: Tensor, history: Sequence[Epoch]) -> bytes:
    """Draw the loss curve beside a grid of held-out images, mistakes framed in red, as PNG."""
    figure = Figure(figsize=(15, 7), layout="constrained")
    curve_part, grid_part = figure.subfigures(1, 2, width_ratios=(2, 3))

    loss_axes, accuracy_axes = curve_part.subplots(2, 1, sharex=True)
    epochs = range(1, len(history) + 1)
    losses = [epoch.loss for epoch in history]
    loss_axes.plot(epochs, losses, marker=".", color="tab:blue")
    loss_axes.fill_between(epochs, losses, color="tab:blue", alpha=0.1)
    loss_axes.set(title="Training loss", ylabel="mean cross-entropy", ylim=(0, None))
    accuracy_axes.plot(epochs, [epoch.held_out_accuracy for epoch in history], marker=".", color="tab:green")
    accuracy_axes.set(
        title=f"Held-out accuracy: {history[-1].held_out_accuracy:.4f} in the end",
        xlabel="epoch",
        ylabel="share of images right",
    )
    accuracy_axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.3)

    # Three rows in order, then one of the mistakes with the highest confidence.
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    wrong = (predicted != data.held_out_labels).nonzero().flatten()
    surest = wrong[confidence[wrong].argsort(descending=True)][:8].tolist()
    grid_part.suptitle("Held-out images; last row: the mistakes that the model was surest of")
    for axes in grid_part.subplots(4, 8).flat:
        axes.axis("off")
    for place, index in [*enumerate(range(min(24, len(logits)))), *enumerate(surest, start=24)]:
        names = [data.class_names[int(labels[index])] for labels in (predicted, data.held_out_labels)]
        draw_image(grid_part.axes[place], data.held_out_images[index], *names)

    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()


def draw_image(axes: Axes, image: Tensor, predicted: str, true: str) -> None:
    """Show one image under its predicted and true class; mistakes in red."""
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    axes.imshow(rearrange(image, "c h w -> h w c").numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(f"{predicted}\ntrue: {true}", fontsize=10, color="black" if predicted == true else "red")
    if predicted != true:
        for side in axes.spines.values():
            side.set(edgecolor="red", linewidth=3)
