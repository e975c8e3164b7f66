"""Settings of a thread that change what operators do: inference mode and autocast."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# The guard itself: `torch.inference_mode` is a Python class around it and takes twice as long.
InferenceGuard: Any = torch._C._InferenceMode

# Whether autocast is on for any device.
any_autocast_enabled: Callable[[], bool] = torch._C._is_any_autocast_enabled


def autocast_state() -> tuple[Any, ...]:
    """Return whether autocast is on for each device, and with which dtype; empty if it is off everywhere."""
    if not any_autocast_enabled():
        return ()
    return tuple((d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cpu", "cuda"))
