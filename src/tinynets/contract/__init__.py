"""The contract: annotations become accept tests, and what they do not accept is judged with authority."""

from .enforce import contract as contract
from .errors import ContractError as ContractError
from .errors import DirectForwardWarning as DirectForwardWarning
from .errors import DtypeError as DtypeError
from .errors import ModeError as ModeError
from .errors import ShapeError as ShapeError
from .switch import checks as checks
