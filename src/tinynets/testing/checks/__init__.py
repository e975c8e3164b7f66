"""The checks, one group per file; importing this package registers them all."""

from . import batch as batch
from . import contract as contract
from . import deploy as deploy
from . import device as device
from . import dtype as dtype
from . import gradients as gradients
from . import ignored as ignored
from . import initial as initial
from . import layout as layout
from . import learning as learning
from . import meta as meta
from . import modes as modes
from . import purity as purity
from . import purity_memory as purity_memory
from . import purity_threads as purity_threads
from . import sequence as sequence
from . import state as state
from . import transforms as transforms
