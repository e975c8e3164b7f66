"""Where torch is installed, by which its own lines are told from the user's in a traceback."""

from pathlib import Path

import torch

TORCH_FOLDER = f"{Path(torch.__file__).parent.as_posix()}/"
