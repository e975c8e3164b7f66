"""Import and instrument the modules of a package for the hook, from files, zip files and namespace packages;
bytecode cached in `__pycache__`, and extension modules, which are not instrumented.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.util
import io
import marshal
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from .._version import __version__
from .instrument import PACKAGE, instrumented
from .package import CheckedModule


class PackageFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of packages (or single modules) as Python does; its loader instruments them."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages = packages
        self.loaded: set[str] = set()  # packages with a module that was found
        self.not_loaded: dict[str, str] = {}  # module -> why it is not instrumented

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the modules."""
        mine = [p for p in self.packages if fullname == p or fullname.startswith(f"{p}.")]
        if not mine:
            return None
        others = [f for f in sys.meta_path if hasattr(f, "find_spec") and not isinstance(f, PackageFinder)]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None:
            return None
        self.loaded.update(mine)
        if hasattr(spec.loader, "get_source") and hasattr(spec.loader, "exec_module"):
            spec.loader = InstrumentingLoader(spec.loader)
        elif spec.loader is not None:
            self.not_loaded[fullname] = f"it is loaded by {type(spec.loader).__name__}, which has no source"
        return spec


class InstrumentingLoader(importlib.abc.Loader):
    """Loads a module as another loader does, and instruments it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the other loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, instrumented."""
        source = self._loader.get_source(module.__name__)
        keep = isinstance(self._loader, SourceFileLoader)
        code = _code(source, str(module.__file__), keep) if source is not None else None
        if source is None or code is None:
            self._loader.exec_module(module)  # an extension module, or a syntax error to raise
            return
        lines = io.StringIO(source).readlines()
        known = vars(module).get(PACKAGE)
        if isinstance(known, CheckedModule):
            known.lines = lines  # the module is reloaded
        else:
            vars(module)[PACKAGE] = CheckedModule(module.__name__, str(module.__file__), lines)
        exec(code, vars(module))


def _code(source: str, path: str, keep: bool) -> CodeType | None:
    """Return the code of an instrumented module, cached on disk like the bytecode of other modules."""
    level = f"tinynets{sys.flags.optimize}"
    cache = Path(importlib.util.cache_from_source(path, optimization=level)) if keep else None
    key = (__version__, _OWN_HASH, importlib.util.source_hash(source.encode()))
    if cache:
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
            known_key, code = marshal.loads(cache.read_bytes())
            if known_key == key:
                return code
    try:
        code = compile(instrumented(ast.parse(source, path)), path, "exec", dont_inherit=True)
    except SyntaxError:
        return None
    if cache and not sys.dont_write_bytecode:
        _keep(cache, marshal.dumps((key, code)))
    return code


def _keep(cache: Path, content: bytes) -> None:
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
    try:
        cache.parent.mkdir(exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, cache)
    except OSError:
        temporary.unlink(missing_ok=True)


# The cached code depends on the source of `instrument.py`.
_OWN_HASH = importlib.util.source_hash(Path(__file__).with_name("instrument.py").read_bytes())
