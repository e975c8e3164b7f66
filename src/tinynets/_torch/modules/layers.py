"""The base classes of torch's normalisation and dropout layers.

By these, a layer is known to depend on the mode or on the batch, whether it is of 1, 2 or 3 dimensions, lazy,
synchronised or a user's own subclass. Torch exports the concrete classes only; should it drop a base, list
them here.
"""

# pyright: reportPrivateUsage=false
from torch.nn.modules import batchnorm, dropout, instancenorm

BatchNorm = batchnorm._BatchNorm
BatchOrInstanceNorm = batchnorm._NormBase
Dropout = dropout._DropoutNd
InstanceNorm = instancenorm._InstanceNorm
