"""Parts of `torch.compile` that have no public API: mode blocks inside compiled functions, the wrapper's
class, and an error in place of a recompilation.
"""

# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import nn
from torch._C._dynamo import eval_frame

# The callback by which `torch.compile` sees the frames that a compiled function calls untraced. Without
# it, a mode block in such a function still works, but is traced, with warnings.
_frame_callback: Callable[[], object] = getattr(eval_frame, "get_eval_frame_callback", lambda: None)


def compiler_watches() -> bool:
    """Return whether the running code was called by a compiled function."""
    return _frame_callback() not in (None, False)


def is_compiled_wrapper(cls: type[nn.Module]) -> bool:
    """Return whether a class is the wrapper that `torch.compile(module)` returns.

    Compares names, since importing the class imports the compiler. If torch renames it, the wrapper's own
    flag is switched as well, which it passes on to the module inside.
    """
    return cls.__name__ == "OptimizedModule" and cls.__module__.startswith("torch._dynamo")


def refuse_recompiling(refuse: bool) -> AbstractContextManager[None]:
    """Make a compiled function raise instead of recompiling; the error names the failed guard.

    The public `torch.compiler.set_stance("fail_on_recompile")` also rejects the first compilation.
    """
    import torch._dynamo.config as config

    return config.patch(error_on_recompile=refuse)
