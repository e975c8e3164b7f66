"""`tn.install_import_hook`: jaxtyping's signature, `uninstall`, and the warnings for a package that is
imported already or is not imported while the hook is installed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Self

from .loader import PackageFinder


class ImportHook:
    """The result of `install_import_hook`: uninstalls the hook as a context manager, or with `uninstall`."""

    def __init__(self, finder: PackageFinder) -> None:
        self._finder = finder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.remove(warn=kind is None)

    def uninstall(self) -> None:
        """Instrument no more modules; modules that were imported keep their checks."""
        self.remove(warn=True)

    def remove(self, *, warn: bool) -> None:
        """Uninstall the hook; with `warn`, warn if no module was imported."""
        if self._finder not in sys.meta_path:
            return
        sys.meta_path.remove(self._finder)
        for package in self._finder.packages:
            if warn and package not in self._finder.loaded and package not in sys.modules:
                warnings.warn(
                    f"tinynets: no module of {package!r} was imported while the import hook was installed, so"
                    " nothing is enforced; is the name right?",
                    stacklevel=3,
                )


def install_import_hook(modules: str | Sequence[str], typechecker: str | None = None) -> ImportHook:
    """Enforce every jaxtyping annotation of packages that are imported from now on.

    Has the signature of `jaxtyping.install_import_hook` and applies to the same modules: the named ones and
    their submodules. It never raises when modules are imported or functions are defined: annotations that
    cannot be enforced are skipped, and `tinynets audit` lists them. Only tensor annotations are enforced.

    Args:
        modules: name of a package or module, or several.
        typechecker: accepted and ignored, for compatibility with jaxtyping.

    Returns:
        A context manager that uninstalls the hook on exit; `uninstall()` does the same.

    Examples:
        >>> with tn.install_import_hook("my_package"):
        ...     import my_package
    """
    names = (modules,) if isinstance(modules, str) else tuple(modules)
    for name in names:
        if name in sys.modules:
            warnings.warn(
                f"tinynets: {name!r} is imported already, so nothing in it is enforced; install the import"
                " hook first",
                stacklevel=2,
            )
    finder = PackageFinder(names)
    sys.meta_path.insert(0, finder)
    return ImportHook(finder)
