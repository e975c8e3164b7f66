"""The names of the zoo that costly tests go through."""

import os

from tinynets.models import list_models
from tinynets.models.registry import MODELS

# The first name of each class: its other depths and widths are the same lines. `docs/conformance.md` has every name.
CLASSES = list({MODELS[name].class_name: name for name in reversed(list_models())}.values())[::-1]
# `TINYNETS_ALL=1 pytest` goes through all names.
SWEPT = list_models() if os.environ.get("TINYNETS_ALL") == "1" else CLASSES
