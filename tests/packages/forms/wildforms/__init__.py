"""Every form of annotation met in public PyTorch packages; those that are not true are called lies."""

from .functions import add as add
