"""What happens where an annotation cannot be enforced or a value does not match: the strict policy of
`tn.Module` and `tn.contract` raises; that of the import hook is `_packages/lenient_policy.py`.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import AnnotationError

from ...errors import ContractError
from .specs import Site, Spec


class Policy:
    """The policy of `Module` and `contract`: every annotation is enforced, or the definition raises."""

    strict = True
    """Whether an annotation also applies to later assignments to the name, inner functions must be checked,
    and errors of torch get a note. If False, an annotation applies to its own line only."""

    def refuse(self, title: str, where: str, line: int, reason: str) -> None:
        """Raise AnnotationError for what cannot be enforced; where this returns, it is not checked."""
        raise AnnotationError(f"{title}, {f'line {line}' if line else where}: {reason}")

    def adapt(self, spec: Spec, title: str, where: str, line: int = 0) -> Spec:
        """Return the part of a spec that is checked."""
        return spec

    def with_default(self, spec: Spec, default: Any) -> Spec:
        """Return the spec of an argument that has a default other than None."""
        return spec

    def tolerates(self, error: ContractError, site: Site, title: str) -> bool:
        """Whether a call continues although a value does not match."""
        return False

    def excuses(self, error: Exception, site: Site, title: str) -> bool:
        """Whether a call continues although a value could not be validated."""
        return False


STRICT = Policy()
