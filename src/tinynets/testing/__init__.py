"""Conformance checks for any `nn.Module`: does it behave as users of modules expect?"""

from ..errors import Failure as Failure
from ..errors import ModelCheckError as ModelCheckError
from ..errors import ModelCheckWarning as ModelCheckWarning
from ..errors import Skip as Skip
from .definition import Check as Check
from .definition import Level as Level
from .definition import ModelCheck as ModelCheck
from .definition import check as check
from .definition import list_checks as list_checks
from .options import Exemption as Exemption
from .options import Options as Options
from .pytest_params import Case as Case
from .pytest_params import parametrize_checks as parametrize_checks
from .report.report import Report as Report
from .report.results import Result as Result
from .report.results import Status as Status
from .subject import Subject as Subject
from .suite import check_model as check_model
