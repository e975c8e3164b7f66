"""Notes on a call that depend on the mode: `dropout 0.1 ON`, `bn uses batch statistics`, `random: rand
(train)`, autocast, the warning `is ON although eval`; and the functions that get one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from .accidental_broadcasting import broadcast_warning

_DROPOUTS = {
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_alpha_dropout",
    "feature_dropout",
}
_RANDOM = {
    "bernoulli",
    "bernoulli_",
    "rand",
    "randn",
    "randint",
    "rand_like",
    "randn_like",
    "multinomial",
} | {"normal", "normal_", "uniform_", "exponential_", "randperm"}
# The functional losses that broadcast implicitly.
_ELEMENTWISE_LOSSES = {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss"}


def autocast_of(devices: Iterable[str]) -> str:
    """Return the active `torch.autocast`, such as `cpu bfloat16`, or `""` if it is off."""
    on = [device for device in devices if torch.is_autocast_enabled(device)]
    return " ".join(f"{d} {str(torch.get_autocast_dtype(d)).removeprefix('torch.')}" for d in on)


def mode_facts(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool
) -> tuple[list[str], list[str]]:
    """Return facts and warnings about how a call depends on the mode, that of the module that calls it."""

    def argument(index: int, key: str, default: Any) -> Any:
        return kwargs.get(key, args[index] if len(args) > index else default)

    if name in _DROPOUTS:
        rate, active = argument(1, "p", 0.5), bool(argument(2, "training", True))
        return _dropout(name, rate, active, training=training)
    if name == "scaled_dot_product_attention":
        rate = argument(4, "dropout_p", 0.0)
        return _dropout("attention dropout", rate, rate > 0, training=training)
    if name == "multi_head_attention_forward":
        rate, active = argument(10, "dropout_p", 0.0), bool(kwargs.get("training", True))
        return _dropout("attention dropout", rate, active, training=training)
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu") and len(args) >= 7:
        numbers = [item for item in args[3:] if isinstance(item, float)]
        flags = [item for item in args if isinstance(item, bool)]
        if numbers and numbers[0] > 0 and len(flags) > 1:
            return _dropout(f"{name} dropout", numbers[0], flags[1], training=training)
    if name in ("batch_norm", "instance_norm"):
        label, key = ("bn", "training") if name == "batch_norm" else ("instance norm", "use_input_stats")
        batch = bool(argument(5, key, name == "instance_norm"))
        return [f"{label} uses {'batch' if batch else 'running'} statistics"], []
    if name in _RANDOM:
        return [f"random: {name} ({'train' if training else 'eval'})"], []
    if name in _ELEMENTWISE_LOSSES:
        warning = broadcast_warning(name, args[:2])
        return [], [warning] if warning else []
    return [], []


def _dropout(name: str, rate: float, active: bool, *, training: bool) -> tuple[list[str], list[str]]:
    if not rate:
        return [], []
    if not active:
        return [f"{name} {rate:g} off"], []
    warnings = [] if training else [f"{name} {rate:g} is ON although eval"]
    return [f"{name} {rate:g} ON"], warnings
