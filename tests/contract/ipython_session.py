"""A session of IPython in which a file is edited under `%autoreload 2`: prints as JSON what calls then give."""

import json
import os
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

FILE = """
import torch
from jaxtyping import Float
from torch import Tensor
import tinynets as tn


class Base(tn.Module):
    def forward(self, x: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3"]:
        return x


class Net(Base):
    def __init__(self):
        super().__init__()

    def forward(self, x):
        y: Float[Tensor, "batch 3"] = super().forward(x) + 1  # the line
        return y

    @property
    def table(self) -> Float[Tensor, "3"]:
        return torch.zeros(3)

    @staticmethod
    def shift(x: Float[Tensor, "3"], *, by: int = 1) -> Float[Tensor, "3"]:
        return x + by


@tn.contract
def scale(x: Float[Tensor, "batch 3"], *, by: float = 2.0) -> Float[Tensor, "batch 3"]:
    return x * by
"""
PROBE = """
def outcome(call):
    try:
        return str(list(call().shape))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def probe(width):
    x = torch.zeros(2, width)
    calls = {
        "old": lambda: old(x),
        "new": lambda: Net()(x),
        "scale": lambda: scale(x, by=3),
        "old table": lambda: old.table,
        "new table": lambda: Net().table,
        "shift": lambda: Net.shift(x[0], by=2),
    }
    return {name: outcome(call) for name, call in calls.items()}
"""
EDITS = {
    "none": FILE,
    "a body": FILE.replace("+ 1", "+ 2"),
    "a line": FILE.replace('"batch 3"] = super', '"batch 7"] = super'),
    "a line more": FILE.replace("return x * by", "z: Float[Tensor, '*any'] = x\n    return x * by"),
    "arguments": FILE.replace("3", "4"),
    "a global": FILE + "NUMBER = 1\n",
}


def main() -> None:
    file, shell, found = Path("edited.py"), InteractiveShell.instance(), {}
    file.write_text(FILE)
    sys.path.insert(0, ".")
    setup = ["%load_ext autoreload", "%autoreload 2", "import torch, edited", "from edited import *"]
    for cell in (*setup, "old = Net()", PROBE):
        shell.run_cell(cell).raise_error()
    for seconds, (name, text) in enumerate(EDITS.items()):
        file.write_text(text)
        os.utime(file, (2e9 + seconds, 2e9 + seconds))  # IPython looks at the time only
        for width in (3, 4):
            shell.run_cell(f"found = probe({width})").raise_error()
            found[f"{name}, {width}"] = shell.user_ns["found"]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
