from __future__ import annotations

from ... import Failure, Level, Subject, check


@check("runs.repr", Level.MUST, static=True)
def representation(subject: Subject) -> None:
    """`repr(model)` works and stays below a megabyte.

    Why: notebooks, debuggers and error messages print the model.
    Fix: look at `extra_repr`; summarise long values.
    Declare: an exemption.
    """
    try:
        text = repr(subject.model)
    except Exception as error:
        raise Failure(f"repr(model) raised {type(error).__name__}: {error}", error=error) from error
    if len(text) > 1_000_000:
        raise Failure("repr(model) is too long", size=f"{len(text):,} characters (limit 1,000,000)")
