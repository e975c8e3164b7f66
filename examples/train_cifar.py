"""Train CifarMLP on the Python version of CIFAR-10: the folder `cifar-10-batches-py`."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import torch
    from data import Data
    from einops import rearrange
    from loop import run
    from options import add_device, parser
    from script_error import ScriptError
    from torch import Tensor

    import tinynets as tn
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[examples]'") from None

REMEDY = "unpack cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html again"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit code."""
    options = parser(__doc__, out="runs/cifar", epochs=20, learning_rate=1e-3)
    add_device(options)
    options.add_argument("--data", type=Path, required=True, help="the unpacked folder cifar-10-batches-py")
    chosen = options.parse_args(arguments)
    return run(
        lambda: load_cifar(chosen.data),
        lambda data: tn.CifarMLP(num_classes=len(data.class_names)),
        chosen,
    )


def load_cifar(folder: Path) -> Data:
    """Load the five training batches, the test batch as held-out images, and the class names."""
    meta = folder / "batches.meta"
    names = read_pickle(meta).get("label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes | str) for name in names):
        raise ScriptError(f"{meta} is damaged: label_names is not a list of names; {REMEDY}")
    class_names = [name.decode("latin1") if isinstance(name, bytes) else name for name in names]

    batches = [read_batch(folder / f"data_batch_{number}", len(names)) for number in range(1, 6)]
    train_images, train_labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Data(train_images, train_labels, *read_batch(folder / "test_batch", len(names)), class_names)


def read_batch(path: Path, num_classes: int) -> tuple[Tensor, Tensor]:
    """Read the images and labels of one file."""
    batch = read_pickle(path)
    labels = batch.get("labels")
    if not isinstance(labels, list) or not labels:
        raise ScriptError(f"{path} is damaged: labels is not a list of numbers; {REMEDY}")
    if not all(type(label) is int and 0 <= label < num_classes for label in labels):
        raise ScriptError(f"{path} is damaged: a label is not a number from 0 to {num_classes - 1}; {REMEDY}")
    match batch.get("data"):
        # NumPy's pickle of an array: version, shape, dtype, Fortran order or not, content.
        case Pickled(state=(_, (rows, 3072), Pickled(arguments=("u1" | b"u1", *_)), 0, bytes(content))):
            if not rows == len(labels) == len(content) / 3072:
                raise ScriptError(
                    f"{path} is damaged: not one image for each of {len(labels)} labels; {REMEDY}"
                )
        case _:
            raise ScriptError(f"{path} is damaged: data is not a uint8 array [images, 3072]; {REMEDY}")
    # Each row holds all red values, then all green, then all blue.
    pixels = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    images = rearrange(pixels, "(count c h w) -> count c h w", c=3, h=32, w=32)
    return images.float() / 255, torch.tensor(labels)


def read_pickle(path: Path) -> dict[str, Any]:
    """Read one file's dictionary without running any code from the file."""
    try:
        with path.open("rb") as file:
            content = SafeUnpickler(file, encoding="bytes").load()
    except FileNotFoundError:
        raise ScriptError(f"{path} is missing; {REMEDY}") from None
    except OSError as error:
        raise ScriptError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise ScriptError(f"{path} is damaged: {type(error).__name__}: {error}; {REMEDY}") from None
    if not isinstance(content, dict):
        raise ScriptError(f"{path} is damaged: it holds no dictionary; {REMEDY}")
    # Python 2 wrote the keys as bytes.
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}


class Pickled:
    """Stand-in for a pickled numpy array or dtype: keeps the constructor arguments and builds nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class SafeUnpickler(pickle.Unpickler):
    """Unpickler for plain values and arrays that resolves no name to code outside this file."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case ("numpy", "ndarray" | "dtype"):
                return Pickled
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):  # numpy 1, numpy 2
                return Pickled
            case ("_codecs", "encode"):  # how Python 3 pickles bytes in old protocols
                return lambda text, _encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module + '.' + name!r}, which no image file needs")


if __name__ == "__main__":
    raise SystemExit(main())
