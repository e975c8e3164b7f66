"""Everything a model holds, remembered, so that it is handed back as it came."""

from __future__ import annotations

from torch import nn

from .holdings import Kind, holdings
from .states import Change, State, TensorState, state_of


class Snapshot:
    """What a model holds: modules, parameters, buffers, gradients, hooks, modes, attributes, generators.

    Containers and plain objects among the attributes are remembered by identity: restoring puts their
    contents back into the same objects. What lies outside of the model and its classes is not remembered:
    closures, globals of a module, files.

    Args:
        model: the model to remember. It may be changed in any way before `restore`.
    """

    def __init__(self, model: nn.Module) -> None:
        found = [state for holding in holdings(model) if (state := state_of(holding)) is not None]
        # Namespaces and containers first: they say which tensors there are.
        self._states: list[State] = sorted(found, key=lambda state: isinstance(state, TensorState))

    def restore(self) -> None:
        """Put everything back."""
        for state in self._states:
            state.restore()

    def changes(self, *kinds: Kind) -> list[Change]:
        """Return what has changed since, of some kinds or of all, each path once."""
        found: dict[str, Change] = {}
        for state in self._states:
            for change in state.changes():
                if not kinds or change.kind in kinds:
                    found.setdefault(change.path, change)
        return list(found.values())
