from __future__ import annotations

import torch
from torch import Tensor

from ...._torch.state.random_states import RandomStates, seed_everything
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted
from ...measure.compare import same_bits


@check("state.seed", Level.MUST)
def seeded(subject: Subject) -> str | None:
    """After the same `torch.manual_seed`, the factory draws the same weights, for any numpy or Python seed.

    Why: a seed makes an experiment repeatable, and the ranks of a distributed job must start from equal
    weights.
    Fix: draw from torch in the constructor: `torch.randn`, `nn.init`; sort a set before iterating over it.
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
    """Build an instance with the same seed for torch and another one for Python and numpy."""
    if subject.factory is None:
        raise Skip("needs a factory: pass the class, or a function that makes the model")
    seed_everything(elsewhere)
    torch.manual_seed(subject.seed)  # pyright: ignore[reportUnknownMemberType]
    states = RandomStates()
    state = subject.factory().state_dict()
    copied = {name: t.detach().clone() for name, t in state.items() if isinstance(t, Tensor)}  # pyright: ignore[reportUnnecessaryIsInstance]
    return copied, states.moved()
