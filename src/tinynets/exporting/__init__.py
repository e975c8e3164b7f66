"""Models in files that run without this library, with their contract inside."""

from .files import load_exported as load_exported
from .loaded import Exported as Exported
from .write import Format as Format
from .write import export as export
