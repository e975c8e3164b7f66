"""Policy: what becomes of an annotation that cannot be enforced, and how much of a function is checked."""

from __future__ import annotations

from typing import Any

from jaxtyping import AnnotationError

from ...errors import ContractError
from .specs import Site, Spec


class Policy:
    """The policy of `Module` and `contract`: whatever is written is enforced, or the definition raises."""

    strict = True
    """Whether a declared name keeps its annotation, inner functions have to be checked, and errors of torch
    get a note; else an annotated line is about this line."""

    def refuse(self, title: str, where: str, line: int, reason: str) -> None:
        """Raise AnnotationError for what cannot be enforced; where this returns, it is not checked."""
        raise AnnotationError(f"{title}, {f'line {line}' if line else where}: {reason}")

    def adapt(self, spec: Spec, title: str, where: str, line: int = 0) -> Spec:
        """Return what is checked of a spec."""
        return spec

    def with_default(self, spec: Spec, default: Any) -> Spec:
        """Return the spec of an argument that has a default other than None."""
        return spec

    def tolerates(self, error: ContractError, site: Site, title: str) -> bool:
        """Whether a call goes on although a value does not match."""
        return False

    def excuses(self, error: Exception, site: Site, title: str) -> bool:
        """Whether a call goes on although a value could not be judged."""
        return False


STRICT = Policy()
