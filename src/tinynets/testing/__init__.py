"""Conformance checks for any `nn.Module`: does it do what everybody who uses modules relies on?"""

from .base import Check as Check
from .base import Failure as Failure
from .base import Level as Level
from .base import ModelCheck as ModelCheck
from .base import Skip as Skip
from .base import check as check
from .cases import Case as Case
from .cases import parametrize_checks as parametrize_checks
from .check import Options as Options
from .check import check_model as check_model
from .check import list_checks as list_checks
from .exemptions import Exemption as Exemption
from .report import ModelCheckError as ModelCheckError
from .report import ModelCheckWarning as ModelCheckWarning
from .report import Report as Report
from .report import Result as Result
from .report import Status as Status
from .subject import Subject as Subject
