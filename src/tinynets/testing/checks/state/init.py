from __future__ import annotations

from torch import Tensor, nn

from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted
from ...measure.compare import Leaf
from ...measure.training import take_step

_AFFINE = (nn.LayerNorm, nn.RMSNorm)  # their weights scale elementwise and start at one


@check("state.init", Level.SHOULD)
def initial(subject: Subject, *, smallest: float = 1e-3, largest: float = 1e3) -> None:
    """The initial weights are finite and not constant; the outputs are finite and vary between samples.

    The outputs are computed in training mode.

    Why: a forgotten `nn.init` leaves uninitialised memory; a constant matrix gets the same gradient in every
    row, so its rows stay equal; a model whose initial outputs are tiny, huge or all equal trains slowly.
    Fix: initialise the weights that the message names.
    Declare: an exemption: a head that starts at zero is a choice.
    """
    constant: list[str] = []
    zero: set[str] = set()
    for path, parameter in subject.model.named_parameters():
        if not parameter.isfinite().all():
            bad = int((~parameter.isfinite()).sum())
            raise Failure(
                "a parameter is not finite", where=f"`{path}`", size=f"{bad} of {parameter.numel()} values"
            )
        owner = subject.model.get_submodule(path.rpartition(".")[0])
        if not isinstance(owner, _AFFINE) and _is_constant_matrix(parameter):
            constant.append(path)
            if not parameter.any():
                zero.add(path)
    cause = f"{quoted(constant)}: every value is the same" if constant else ""
    for leaf, axis in _outputs(subject):
        first, others = (
            leaf.tensor.narrow(axis, 0, 1),
            leaf.tensor.narrow(axis, 1, leaf.tensor.shape[axis] - 1),
        )
        if others.numel() and bool((others == first).all()):
            raise Failure("the output is the same for every sample", where=leaf.name, cause=cause)
        spread = float(leaf.tensor.double().std())
        if leaf.tensor.numel() > 1 and not smallest <= spread <= largest:
            size = f"standard deviation {spread:.1e} (limits {smallest:.0e} and {largest:.0e})"
            raise Failure("the outputs are out of scale", where=leaf.name, size=size, cause=cause)
    # A parameter that starts at zero and changes in training, such as a table of positions, is a choice.
    if constant and take_step(subject, 2):
        now = dict(subject.model.named_parameters())
        constant = [path for path in constant if path not in zero or _is_constant_matrix(now[path])]
    if constant:
        raise Failure("weights are constant", where=quoted(constant))


def _is_constant_matrix(parameter: Tensor) -> bool:
    """Return whether a tensor with two axes longer than 1 is constant; other tensors scale or shift."""
    wide = sum(size > 1 for size in parameter.shape) > 1
    return wide and bool((parameter == parameter.flatten()[0]).all())


def _outputs(subject: Subject) -> list[tuple[Leaf, int]]:
    """Return float outputs and batch axes in training mode: in eval mode, new batch norms do nothing."""
    try:
        found = subject.outputs(subject.batch(training=True), training=True)
        if [leaf.path for leaf in found] != [leaf.path for leaf in subject.reference]:
            return []  # auxiliary outputs: batch axes are known for eval mode only
        return [(leaf, axis) for leaf, axis in subject.batched(found) if leaf.tensor.is_floating_point()]
    except (Skip, Failure):
        return []
