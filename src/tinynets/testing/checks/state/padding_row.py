from __future__ import annotations

from torch import nn

from ...._torch.modules.module_tables import named_modules
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted


@check("state.padding_row", Level.SHOULD, static=True)
def padding_row(subject: Subject) -> None:
    """The padding row of an embedding is zero.

    Why: `nn.Embedding(padding_idx=0)` makes it zero and keeps gradients away from it. `nn.init.normal_` on
    the whole table, as most `init_weights` do, fills it with noise that is never trained away.
    Fix: zero it again: `weight[padding_idx] = 0` under `torch.no_grad()`.
    Declare: an exemption, if the row comes from a model that was trained with it.
    """
    rows = {
        f"{path}.weight[{module.padding_idx}]".lstrip("."): module.weight[module.padding_idx]
        for path, module in named_modules(subject.model)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.padding_idx is not None
    }
    if not rows:
        raise Skip("no embedding has a padding_idx")
    filled = [name for name, row in rows.items() if not row.is_meta and bool(row.any())]
    if filled:
        raise Failure("the row for padding is not zero", where=quoted(filled))
