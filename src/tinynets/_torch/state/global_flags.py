"""The global flags that a model could change, which the checks restore and report: grad mode, default dtype
and device, threads, determinism, autocast, cuDNN, attention kernels, recursion limit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .devices import default_device

_Flag = tuple[Callable[[], Any], Callable[[Any], object]]  # read, write


def _attribute(owner: Any, name: str) -> _Flag:
    return partial(getattr, owner, name), partial(setattr, owner, name)


def _autocast(device: str) -> dict[str, _Flag]:
    return {
        f"torch.is_autocast_enabled({device!r})": (
            partial(torch.is_autocast_enabled, device),
            partial(torch.set_autocast_enabled, device),
        ),
        f"torch.get_autocast_dtype({device!r})": (
            partial(torch.get_autocast_dtype, device),
            partial(torch.set_autocast_dtype, device),
        ),
    }


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)  # None avoids a mode: it has overhead


# By the expression with which a user would read them.
_FLAGS: dict[str, _Flag] = {
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.get_default_dtype()": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.get_default_device()": (default_device, _set_default_device),
    "torch.get_num_threads()": (torch.get_num_threads, torch.set_num_threads),
    "torch.get_deterministic_debug_mode()": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "torch.get_float32_matmul_precision()": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "torch.is_anomaly_enabled()": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch.is_warn_always_enabled()": (torch.is_warn_always_enabled, torch.set_warn_always),
    **_autocast("cpu"),
    **_autocast("cuda"),
    "torch.is_autocast_cache_enabled()": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "torch.backends.cudnn.enabled": _attribute(torch.backends.cudnn, "enabled"),
    "torch.backends.cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "torch.backends.cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "torch.backends.cuda.flash_sdp_enabled()": (
        torch.backends.cuda.flash_sdp_enabled,
        torch.backends.cuda.enable_flash_sdp,
    ),
    "torch.backends.cuda.mem_efficient_sdp_enabled()": (
        torch.backends.cuda.mem_efficient_sdp_enabled,
        torch.backends.cuda.enable_mem_efficient_sdp,
    ),
    "torch.backends.cuda.math_sdp_enabled()": (
        torch.backends.cuda.math_sdp_enabled,
        torch.backends.cuda.enable_math_sdp,
    ),
    "torch.utils.deterministic.fill_uninitialized_memory": _attribute(
        torch.utils.deterministic, "fill_uninitialized_memory"
    ),
    "sys.getrecursionlimit()": (sys.getrecursionlimit, sys.setrecursionlimit),
}


def read_flags() -> dict[str, Any]:
    """Return the value of every global flag, by the expression with which a user would read it."""
    return {name: read() for name, (read, _) in _FLAGS.items()}


def write_flags(flags: dict[str, Any]) -> None:
    """Restore the flags that have changed; the others are not set, since setting some of them is slow."""
    for name, value in flags.items():
        read, write = _FLAGS[name]
        if read() != value:
            write(value)


def changed_flags(before: dict[str, Any]) -> list[str]:
    """Return one line for every flag that has changed."""
    now = read_flags()
    return [f"{name}: {before[name]} -> {now[name]}" for name in before if now[name] != before[name]]
