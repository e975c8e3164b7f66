"""Let nothing in this process read a pickle."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch.distributed import distributed_c10d

READERS = [
    (pickle, "load"),
    (pickle, "loads"),
    (pickle, "Unpickler"),
    (pickle, "_Unpickler"),
    (distributed_c10d, "_unpickler"),  # what broadcast_object_list and its like read with
    (torch, "load"),
]
_forbidden = False


def _audit(event: str, _: object) -> None:
    if _forbidden and event == "pickle.find_class":  # also of readers that were imported under another name
        raise AssertionError("a pickle asks for a class")


sys.addaudithook(_audit)


@contextmanager
def no_pickles() -> Iterator[None]:
    """Fail where a pickle is read."""
    global _forbidden

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle is read")

    patches = [mock.patch.object(module, name, refuse) for module, name in READERS]
    try:
        for patch in patches:
            patch.start()
        _forbidden = True
        yield
    finally:
        _forbidden = False
        for patch in patches:
            patch.stop()
