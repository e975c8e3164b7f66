"""Whether the state that the constructor draws is repeatable and sound."""

from __future__ import annotations

import random
import sys

import torch
from torch import Tensor, nn

from ..._torch.random_states import RandomStates
from ...errors import Failure, Skip
from ..definition import Level, check
from ..measure.compare import Leaf, same_bits
from ..subject import Subject
from ..wording import quoted

_AFFINE = (nn.LayerNorm, nn.RMSNorm)  # their weights scale element by element: all ones is how they start


@check("state.seed", Level.MUST)
def seeded(subject: Subject) -> str | None:
    """After the same `torch.manual_seed`, the factory makes the same weights, whatever Python and numpy draw.

    Why: an experiment is repeated by its seed, and the ranks of a distributed job start from equal weights.
    Fix: draw from torch in the constructor: `torch.randn`, `nn.init`; sort what comes from a set.
    Declare: an exemption.
    """
    first, moved = _made(subject, 0)
    second, _ = _made(subject, 1)
    different = [name for name in first if name not in second or not same_bits(first[name], second[name])]
    different += [name for name in second if name not in first]
    if different:
        others = " and ".join(f"the random numbers of {name}" for name in moved if name != "torch")
        raise Failure(
            "two instances made after the same torch.manual_seed are different",
            where=quoted(different),
            size=f"{len(different)} of {len(first)} entries of the state dict",
            cause=f"the constructor draws from {others}" if others else "",
        )
    if torch.initial_seed() != subject.seed:
        return f"the constructor sets the global seed of torch to {torch.initial_seed()}"
    return None if first else "there is no state that could depend on the seed"


def _made(subject: Subject, elsewhere: int) -> tuple[dict[str, Tensor], list[str]]:
    """Make an instance after the same seed of torch and another one of Python and numpy."""
    if subject.factory is None:
        raise Skip("needs a factory: pass the class, or a function that makes the model")
    random.seed(elsewhere)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(elsewhere)
    torch.manual_seed(subject.seed)  # pyright: ignore[reportUnknownMemberType]
    states = RandomStates()
    state = subject.factory().state_dict()
    copied = {name: t.detach().clone() for name, t in state.items() if isinstance(t, Tensor)}  # pyright: ignore[reportUnnecessaryIsInstance]
    return copied, states.moved()


@check("state.init", Level.SHOULD)
def initial(subject: Subject, *, smallest: float = 1e-3, largest: float = 1e3) -> None:
    """The weights as they come are finite and vary, and so do the outputs, from sample to sample.

    The outputs are those of training mode.

    Why: a forgotten `nn.init` leaves what was in memory; a constant matrix has the same gradient in every
    row and stays one; outputs that are tiny, huge or all alike at the start are slow to train.
    Fix: initialise the weights that the message names.
    Declare: an exemption: zero-initialised heads and position tables are a choice.
    """
    constant: list[str] = []
    for path, parameter in subject.model.named_parameters():
        if not parameter.isfinite().all():
            bad = int((~parameter.isfinite()).sum())
            raise Failure(
                "a parameter is not finite", where=f"`{path}`", size=f"{bad} of {parameter.numel()} values"
            )
        owner = subject.model.get_submodule(path.rpartition(".")[0])
        if not isinstance(owner, _AFFINE) and _is_constant_matrix(parameter):
            constant.append(path)
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
    if constant:
        raise Failure("weights are constant", where=quoted(constant))


def _is_constant_matrix(parameter: Tensor) -> bool:
    """Whether all values are the same, in a tensor with two axes longer than 1: others scale or shift."""
    wide = sum(size > 1 for size in parameter.shape) > 1
    return wide and bool((parameter == parameter.flatten()[0]).all())


def _outputs(subject: Subject) -> list[tuple[Leaf, int]]:
    """Return float outputs with their batch axis, in training mode: before, batch norms do not normalise."""
    try:
        found = subject.outputs(subject.batch(training=True), training=True)
        if [leaf.path for leaf in found] != [leaf.path for leaf in subject.reference]:
            return []  # auxiliary outputs: which axis counts samples is known in eval mode only
        return [(leaf, axis) for leaf, axis in subject.batched(found) if leaf.tensor.is_floating_point()]
    except (Skip, Failure):
        return []
