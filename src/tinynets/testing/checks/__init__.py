"""The checks, one group per file; importing this package registers them all."""

from . import batch as batch
from . import contract as contract
from . import gradients as gradients
from . import initial as initial
from . import learning as learning
from . import sequence as sequence
from . import state as state
