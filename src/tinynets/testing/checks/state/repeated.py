from __future__ import annotations

from torch import nn

from ...._torch.modules.module_tables import named_modules
from ... import Failure, Level, Subject, check
from ...call_helpers import quoted


@check("state.repeated", Level.SHOULD, static=True)
def repeated(subject: Subject) -> str | None:
    """No `nn.Sequential` contains the same module with parameters more than once.

    For an `nn.ModuleList` this is only reported, since heads are shared this way on purpose.

    Why: `nn.Sequential(*[block] * 3)` is one block, applied three times: a third of the parameters.
    Fix: build each one: `nn.Sequential(*[Block() for _ in range(3)])`.
    Declare: an exemption, if the layers share their weights on purpose.
    """
    found: dict[bool, list[str]] = {True: [], False: []}
    for path, container in named_modules(subject.model):
        if not isinstance(container, nn.Sequential | nn.ModuleList):
            continue
        places: dict[int, list[str]] = {}
        for index, module in enumerate(container):
            # A list may hold None, whatever its type says.
            if isinstance(module, nn.Module) and next(module.parameters(), None) is not None:  # pyright: ignore[reportUnnecessaryIsInstance]
                places.setdefault(id(module), []).append(f"{path}.{index}".lstrip("."))
        several = [names for names in places.values() if len(names) > 1]
        found[isinstance(container, nn.Sequential)] += [" = ".join(names) for names in several]
    if found[True]:
        raise Failure("one module stands in a Sequential several times", where=quoted(found[True]))
    return f"one module several times in a list: {quoted(found[False])}" if found[False] else None
