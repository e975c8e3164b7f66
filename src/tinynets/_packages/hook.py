"""`install_import_hook`: enforce the jaxtyping annotations of packages, in jaxtyping's own form."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Self

from .loader import PackageFinder


class ImportHook:
    """What `install_import_hook` returns: a context manager that uninstalls the hook, or `uninstall` does."""

    def __init__(self, finder: PackageFinder) -> None:
        self._finder = finder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.remove(warn=kind is None)

    def uninstall(self) -> None:
        """Arm no more modules; those that were imported stay as they are."""
        self.remove(warn=True)

    def remove(self, *, warn: bool) -> None:
        """Uninstall; where `warn` is true, say so if no module was imported."""
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

    It has the form of `jaxtyping.install_import_hook`, and reaches the same modules: those of the names and
    below. Nothing raises when they are imported or their functions are defined: what cannot be
    enforced is left alone, and `tinynets audit` lists it. Only tensor annotations are looked at.

    Args:
        modules: name of a package or module, or several.
        typechecker: accepted and ignored; jaxtyping's form has it.

    Returns:
        A context manager that uninstalls the hook on exit; `uninstall()` does so too.

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
