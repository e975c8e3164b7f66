"""Run the command as `python -m tinynets.cli`."""

import sys

from . import main

sys.exit(main())
