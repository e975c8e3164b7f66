"""Save everything a model holds, so that the caller gets it back unchanged."""

from __future__ import annotations

from torch import nn

from ..._torch.state.model_walk import reachable
from ..._torch.state.walk_item import Role
from .changes import Change
from .save_and_restore import SavedObject, SavedTensor, save


class Snapshot:
    """A saved model: modules, parameters, buffers, gradients, hooks, modes, attributes, generators.

    Containers and plain objects among the attributes are saved by identity: restoring puts their contents
    back into the same objects. State outside of the model and its classes is not saved: globals of a module,
    files.

    Args:
        model: the model to save. It may be changed in any way before `restore`.
    """

    def __init__(self, model: nn.Module) -> None:
        found = [saved for item in reachable(model) if (saved := save(item)) is not None]
        # Namespaces and containers first: they determine which tensors there are.
        self._saved: list[SavedObject] = sorted(found, key=lambda saved: isinstance(saved, SavedTensor))

    def restore(self) -> None:
        """Restore everything."""
        for saved in self._saved:
            saved.restore()

    def changes(self, *roles: Role) -> list[Change]:
        """Return the changes since, of some roles or of all, each path once."""
        found: dict[str, Change] = {}
        for saved in self._saved:
            for change in saved.changes():
                if not roles or change.role in roles:
                    found.setdefault(change.path, change)
        return list(found.values())
