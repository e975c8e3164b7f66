"""The base classes of torch's BatchNorm, InstanceNorm and dropout layers, by which the modes and the checks
recognise them.

They identify layers that depend on the mode or on the batch: 1-, 2- or 3-dimensional, lazy, synchronised or
subclassed by a user. Torch exports only the concrete classes; if it drops a base, list them here.
"""

# pyright: reportPrivateUsage=false
from torch.nn.modules import batchnorm, dropout, instancenorm

BatchNorm = batchnorm._BatchNorm
BatchOrInstanceNorm = batchnorm._NormBase
Dropout = dropout._DropoutNd
InstanceNorm = instancenorm._InstanceNorm
