"""Which checks run on a model, in which order, and why the others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .check_ids import resolve_id, resolve_keys
from .definition import Check, Level, ModelCheck
from .exemptions import Exemption
from .options import Options


@dataclass(frozen=True)
class Plan:
    """Which checks to run, and what is declared about them.

    Args:
        checks: every check, selected or not.
        options: what the caller and the class declare, every id under its present name.
    """

    checks: Sequence[Check]
    options: Options = field(default_factory=Options)

    def ordered(self) -> list[Check]:
        """Return the checks, cheap ones first: a trivial failure must not wait for half an hour."""

        def rank(check: Check) -> tuple[bool, bool, bool]:
            return (
                bool(getattr(check, "slow", False)),
                not getattr(check, "static", False),
                not check.id.startswith("runs."),
            )

        return sorted(self.checks, key=rank)

    def unselected(self, check: Check) -> str | None:
        """Return why a check is not to run, None if it is."""
        options = self.options
        group = check.id.partition(".")[0]
        if check.id in options.skip:
            return options.skip[check.id]
        if options.groups is not None and group not in options.groups:
            return f"group {group!r} is not among groups="
        if getattr(check, "opt_in", False) and check.id not in options.supports:
            return f'only where it is asked for: supports={{"{check.id}"}}'
        if getattr(check, "slow", False) and not options.slow and check.id not in options.supports:
            return "takes seconds: slow=True runs it"
        return None

    def exemption(self, check: Check) -> Exemption | None:
        """Return the exemption of a check, if it has one; a plain string is its reason."""
        given = self.options.expected_failures.get(check.id)
        return Exemption(given) if isinstance(given, str) else given


def make_plan(checks: Sequence[Check], options: Options) -> Plan:
    """Return the plan for some options, every id under its present name.

    Raises:
        ValueError: an unknown check, group or parameter, a missing reason, or a capability that is none.
    """
    by_id = {check.id: check for check in checks}
    groups = sorted({id.partition(".")[0] for id in by_id})
    options = replace(
        options,
        groups=None
        if options.groups is None
        else frozenset([resolve_id(group, groups, "groups", "group") for group in options.groups]),
        supports=frozenset([resolve_id(id, by_id, "supports") for id in options.supports]),
        expected_failures=resolve_keys(options.expected_failures, by_id, "expected_failures"),
        skip=resolve_keys(options.skip, by_id, "skip"),
        params=resolve_keys(options.params, by_id, "params"),
    )
    plan = Plan(checks, options)
    for id in options.supports:
        if by_id[id].level is not Level.CAPABILITY and not getattr(by_id[id], "opt_in", False):
            raise ValueError(f"supports: {id!r} is no capability: it is checked in any case")
    for id, reason in options.skip.items():
        if not reason.strip():
            raise ValueError(f"skip: {id!r} needs a reason")
    for id in options.expected_failures:
        plan.exemption(by_id[id])  # which refuses an empty reason
    for id, given in options.params.items():
        found = by_id[id]
        for name in given:
            if isinstance(found, ModelCheck):
                resolve_id(name, found.params, f"params[{id!r}]", "parameter")
    return plan
