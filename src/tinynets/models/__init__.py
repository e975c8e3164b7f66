"""The zoo: one family per file, every model an ordinary class."""

from .mlp import CifarMLP as CifarMLP
from .mlp import TinyVisionMLP as TinyVisionMLP
