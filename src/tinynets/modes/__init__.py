"""Train and eval mode, switched for a block and restored exactly."""

from .contexts import evaluating as evaluating
from .contexts import inference as inference
from .contexts import training as training
from .freezing import freeze as freeze
from .freezing import frozen as frozen
from .freezing import is_frozen as is_frozen
from .freezing import unfreeze as unfreeze
from .inference_guard import guard as guard
from .report import ModeReport as ModeReport
from .report import mode_report as mode_report
from .with_blocks import approved as approved
