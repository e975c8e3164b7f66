"""The folder of torch, to tell its lines from the user's in a traceback."""

from pathlib import Path

import torch

TORCH_FOLDER = f"{Path(torch.__file__).parent.as_posix()}/"
