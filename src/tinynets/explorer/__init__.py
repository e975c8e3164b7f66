"""The forward pass, line by line: one trace becomes rows, and the rows become text, a page or data."""

from .explain import explain as explain
from .explanation import Explanation as Explanation
from .records import Amount as Amount
from .records import Frame as Frame
from .records import Line as Line
from .records import Op as Op
from .records import Run as Run
from .records import TensorFacts as TensorFacts
