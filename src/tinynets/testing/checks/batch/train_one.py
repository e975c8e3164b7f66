from __future__ import annotations

from torch import Size, Tensor, nn

from ...._torch.modules.hook_recorder import forward_hooks
from ...._torch.modules.layers import BatchOrInstanceNorm
from ...._torch.modules.module_tables import named_modules
from ... import Failure, Level, Subject, check
from ...measure.training import backward


@check("batch.train_one", Level.CAPABILITY)
def train_one(subject: Subject) -> None:
    """The model can be trained with one sample.

    Why: the last batch of an epoch may hold one sample, and large inputs are trained one at a time. Batch
    normalisation fails on one sample of one pixel: a single value has no variance.
    Fix: `drop_last=True` in the data loader, larger inputs, or a normalisation that does not use the batch.
    Declare: `supports={"batch.train_one"}` makes it a requirement.
    """
    seen: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def before(path: str, module: nn.Module, args: tuple[Tensor, ...], kwargs: object) -> None:
        seen.append((path, module, tuple(args[0].shape)))

    norms = [(p, m) for p, m in named_modules(subject.model) if isinstance(m, BatchOrInstanceNorm)]
    try:
        with forward_hooks(norms, before=before):
            backward(subject, size=1)
    except Failure as failure:
        path, module, shape = seen[-1] if seen else ("", None, ())
        if module is not None and Size(shape).numel() == Size(shape[:2]).numel():
            pixels = " x ".join(map(str, shape[2:]))
            seen_as = f"a sample of {pixels} pixels" if pixels else "one value per channel"
            raise Failure(
                f"{type(module).__name__} cannot normalise one sample: it sees {seen_as}",
                where=f"`{path}`",
                error=failure.error,
            ) from failure.error
        raise
