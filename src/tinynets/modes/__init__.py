"""Train and eval mode, switched for a block and put back exactly."""

from .blocks import approved as approved
from .frozen import freeze as freeze
from .frozen import frozen as frozen
from .frozen import is_frozen as is_frozen
from .frozen import unfreeze as unfreeze
from .guard import guard as guard
from .report import ModeReport as ModeReport
from .report import mode_report as mode_report
from .switches import evaluating as evaluating
from .switches import inference as inference
from .switches import training as training
