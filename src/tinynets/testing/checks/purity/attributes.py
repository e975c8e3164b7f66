from __future__ import annotations

from ...._torch.state.walk_item import Role
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import call_no_grad, listed
from ...snapshot.changes import count_changes
from ...snapshot.snapshot import Snapshot


@check("purity.attributes", Level.SHOULD)
def attributes(subject: Subject) -> None:
    """A call in eval mode does not change the attributes of any module or its class.

    Why: what a call writes to `self` affects the next call, other threads, `deepcopy` and `torch.compile`.
    Fix: keep the values of one call in local variables; compute tables in `__init__`, as buffers.
    Declare: `stateful=True` for a model that is meant to remember, or an exemption with the reason.
    """
    if subject.stateful:
        raise Skip("the model is declared stateful")
    model, arguments = subject.model, subject.batch()
    model.eval()
    before = Snapshot(model)
    call_no_grad(subject, arguments)
    if changed := before.changes(Role.ATTRIBUTE, Role.HOOK):
        raise Failure(
            f"an eval call changes {count_changes(changed)}",
            where=listed([str(change) for change in changed]),
        )
