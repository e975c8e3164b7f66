"""`tinynets audit PACKAGE`: its help, `--json` and exit code; the text that it prints is in
`_packages/audit.py`.
"""

from __future__ import annotations

import argparse
from typing import Any

from .common import OK, add_parser

_DESCRIPTION = """\
Print what tinynets.install_import_hook("PACKAGE") would enforce, and what not and why.

The package is imported with all its modules, and so run; none of its functions is called."""
_EXAMPLES = """\
examples:
  tinynets audit mypackage
  tinynets audit mypackage.models --json
"""


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "audit",
        help="say what would be enforced in a package, and what not and why",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("package", help="the name of a package or module, as in `import`")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the audit of a package.

    Raises:
        TargetError: there is no such package, or it has nothing to enforce.
    """
    import os
    import sys

    from .._packages.audit import audit

    if os.getcwd() not in sys.path:  # as with `python -m`
        sys.path.insert(0, os.getcwd())
    report = audit(options.package)
    print(report.to_json() if options.json else report)
    return OK
