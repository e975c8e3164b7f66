"""The base class of a mode that sees every operation that torch runs, below autograd.

`TorchDispatchMode` is used throughout, but stands in a private module. Without it, `device.move` could not
refuse operations on two devices where there is only a CPU, nor could the operations of a call be counted.
"""

from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
