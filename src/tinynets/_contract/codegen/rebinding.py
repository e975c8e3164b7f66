"""Find out from bytecode whether a function assigns one of its arguments, by any kind of statement."""

from __future__ import annotations

import dis
from types import CodeType

_BINDS = {
    number: name
    for name, number in dis.opmap.items()
    if name.startswith(("STORE_FAST", "DELETE_FAST", "STORE_DEREF", "DELETE_DEREF"))
}


def rebinds(code: CodeType, name: str) -> bool:
    """Whether a function, or a function inside it, may assign or delete the argument `name`."""
    if name in code.co_cellvars:
        inner = [c for c in code.co_consts if isinstance(c, CodeType) and name in c.co_freevars]
        return any(_BINDS.get(o, "").endswith("DEREF") for one in (code, *inner) for o in one.co_code[::2])
    index = code.co_varnames.index(name)
    for operation, argument in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        kind = _BINDS.get(operation, "")
        # Python 3.13 joins two instructions into one, with two arguments of four bits.
        arguments = [argument >> 4, argument & 15] if kind.count("FAST") > 1 else [argument]
        if kind and index in arguments:
            return True
    return False
