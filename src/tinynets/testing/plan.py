"""Which checks run on a model, cheap ones first, and why the others do not (`skip`, `slow`, on request only);
the errors for unknown ids, missing reasons and wrong `supports`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .check_ids import resolve_id, resolve_keys, resolve_pattern, resolve_selection
from .definition import Check, Level, ModelCheck
from .options import Exemption, Options


@dataclass(frozen=True)
class Plan:
    """Which checks to run, and what is declared about them.

    Args:
        checks: every check, selected or not.
        options: what the caller and the class declare, with current ids.
        selected: the ids that `groups=` and `checks=` name; None for all.
        exemptions: the exemption of every check that has one.
        held: the ids that an exemption names alone, so that they must fail.
        patterns: pattern of an exemption -> the ids that it matches, if there are several.
    """

    checks: Sequence[Check]
    options: Options = field(default_factory=Options)
    selected: frozenset[str] | None = None
    exemptions: Mapping[str, Exemption] = field(default_factory=dict[str, Exemption])
    held: frozenset[str] = frozenset()
    patterns: Mapping[str, frozenset[str]] = field(default_factory=dict[str, "frozenset[str]"])

    def ordered(self) -> list[Check]:
        """Return the checks, cheap ones first: a trivial failure should not take half an hour to appear."""

        def rank(check: Check) -> tuple[bool, bool, bool]:
            return (
                bool(getattr(check, "slow", False)),
                not getattr(check, "static", False),
                not check.id.startswith("runs."),
            )

        return sorted(filter(self.includes, self.checks), key=rank)

    def unselected(self, check: Check) -> str | None:
        """Return why a check does not run, None if it does."""
        options = self.options
        if check.id in options.skip:
            return options.skip[check.id]
        if getattr(check, "opt_in", False) and check.id not in options.supports:
            return f'only where it is asked for: supports={{"{check.id}"}}'
        if getattr(check, "slow", False) and not options.slow and check.id not in options.supports:
            return "takes seconds: slow=True runs it"
        return None

    def includes(self, check: Check) -> bool:
        """Return whether `groups=` and `checks=` select a check, so that it is in the report."""
        return self.selected is None or check.id in self.selected


def make_plan(checks: Sequence[Check], options: Options) -> Plan:
    """Return the plan for some options, with current ids.

    Raises:
        ValueError: an unknown check, group or parameter, a missing reason, or a check in `supports` that is
            not a capability.
    """
    by_id = {check.id: check for check in checks}
    options = replace(
        options,
        supports=frozenset([resolve_id(id, by_id, "supports") for id in options.supports]),
        skip=resolve_keys(options.skip, by_id, "skip"),
        params=resolve_keys(options.params, by_id, "params"),
    )
    given = {"groups": options.groups, "checks": options.checks}
    chosen = [resolve_selection(one, by_id, name) for name, one in given.items() if one is not None]
    exemptions: dict[str, Exemption] = {}
    patterns: dict[str, frozenset[str]] = {}
    for key, reason in options.expected_failures.items():
        exemption = Exemption(reason) if isinstance(reason, str) else reason
        ids = resolve_pattern(key, by_id, "expected_failures")
        exemptions |= dict.fromkeys(ids, exemption)
        patterns[key] = frozenset(ids)
    selected = frozenset[str]().union(*chosen) if chosen else None
    held = frozenset[str]().union(*(ids for ids in patterns.values() if len(ids) == 1))
    several = {key: ids for key, ids in patterns.items() if len(ids) > 1}
    plan = Plan(checks, options, selected, exemptions, held, several)
    for id in options.supports:
        if by_id[id].level is not Level.CAPABILITY and not getattr(by_id[id], "opt_in", False):
            raise ValueError(f"supports: {id!r} is no capability: it is checked in any case")
    for id, reason in options.skip.items():
        if not reason.strip():
            raise ValueError(f"skip: {id!r} needs a reason")
    for id, given in options.params.items():
        found = by_id[id]
        for name in given:
            if isinstance(found, ModelCheck):
                resolve_id(name, found.params, f"params[{id!r}]", "parameter")
    return plan
