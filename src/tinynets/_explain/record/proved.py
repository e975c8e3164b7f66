"""The proof from the trace of an explanation: one path through the branches, no run on real tensors."""

from __future__ import annotations

from ..._prove.conditions import needed, together
from ..._prove.proof import LineProof, Place, Proof, first_line
from ...inputs.symbolic_sizes import Sizes
from ..records import Run


def proof_of(run: Run, sizes: Sizes) -> Proof | None:
    """Return what a run proves about its annotated lines; None if there are none, or no size is free."""
    proved = "unproved" if _reason(run) else "proved"
    lines: dict[Place, LineProof] = {}
    for _, frame, line in run.frame.walk():
        if line.declared_by == "annotation" and line.verdict:
            name = "return" if line.kind == "return" else ", ".join(line.names)
            function = f"{frame.module}.{frame.function}"
            place = Place(line.file, line.line, function, name, line.declared, line.kind)
            wrong = line.verdict == "≠" or (place in lines and lines[place].verdict == "fails")
            lines[place] = LineProof(place, "fails" if wrong else proved)
    if not lines or not sizes.axes:
        return None
    conditions = together(needed(sizes.conditions()))
    return Proof(
        run.frame.module, run.free, tuple(conditions), (), tuple(lines.values()), reason=_reason(run)
    )


def _reason(run: Run) -> str:
    if run.error:
        return first_line(run.error)
    if run.method != "symbolic":
        return run.reason or f"{run.method} sizes"
    return f"{', '.join(run.tied)} tied to one size by the trace" if run.tied else ""
