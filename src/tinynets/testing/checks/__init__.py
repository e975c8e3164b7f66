"""The checks, each in the file its id names: `batch.causal` is `batch/causal.py`.

Importing this package registers every check, in the order of the paths. To add a check, add a file.
"""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
