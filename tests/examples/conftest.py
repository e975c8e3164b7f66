"""The scripts as modules, and a tiny CIFAR-10 folder in the published format."""

from __future__ import annotations

import importlib
import io
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
CLASS_NAMES = [b"airplane", b"automobile", b"bird"]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of `examples/` by name, as a script there would."""
    monkeypatch.syspath_prepend(EXAMPLES)
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)  # train_digits asks for one


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start a script as a user would."""

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C is ignored by what runs in the background, and by all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, which is how CIFAR-10 was published."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text: str | bytes) -> None:
        content = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def as_published(content: Any) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(content)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batch(name: str, num_images: int) -> dict[bytes, Any]:
    """Make a batch in which the class shows in the brightness."""
    random = np.random.default_rng(num_images)
    labels = [index % len(CLASS_NAMES) for index in range(num_images)]
    noise = random.integers(0, 50, size=(num_images, 3072))
    return {
        b"batch_label": name.encode(),
        b"labels": labels,
        b"data": (noise + 80 * np.array(labels)[:, None]).astype(np.uint8),
        b"filenames": [b"image_%d.png" % index for index in range(num_images)],
    }


@pytest.fixture(params=["python 2", "python 3, protocol 2", "python 3, protocol 4"])
def cifar(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a folder of five training batches and a test batch, 12 images each."""
    dump = {
        "python 2": as_published,
        "python 3, protocol 2": lambda content: pickle.dumps(content, protocol=2),
        "python 3, protocol 4": lambda content: pickle.dumps(content, protocol=4),
    }[request.param]
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(dump(batch(name, 12)))
    meta = {b"num_cases_per_batch": 12, b"label_names": CLASS_NAMES, b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(dump(meta))
    return folder
