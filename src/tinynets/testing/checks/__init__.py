"""The checks, one group per file; importing this package registers them all."""

from . import batch as batch
from . import contract as contract
from . import initial as initial
from . import sequence as sequence
from . import state as state
