"""The base class of a mode that sees every operation that torch runs, below autograd.

`TorchDispatchMode` is widely used, but is in a private module. Without it, `device.move` could not reject
operations on two devices on a machine with only a CPU, and the operations of a call could not be counted.
"""

from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
