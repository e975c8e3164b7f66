"""`tn.mode_report`: its rows, summary and findings as text and in a notebook: modes, frozen parts, what
differs in train mode, and modules out of reach of `eval()`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from .._torch.modules.module_tables import named_modules
from .._torch.state.model_walk import unregistered_modules
from .context_base import require_models
from .eval_randomness import random_in_eval
from .freezing import is_frozen
from .train_sensitivity import train_behaviour


@dataclass(frozen=True)
class ModeRow:
    """One submodule.

    Attributes:
        path: its path in the model; `""` is the model itself.
        kind: name of its class.
        training: its current training flag.
        frozen: whether it is frozen by `tn.freeze` or `tn.frozen`.
        behaviour: what it does differently in train mode, without its children; None if nothing.
    """

    path: str
    kind: str
    training: bool
    frozen: bool
    behaviour: str | None

    @property
    def mode(self) -> str:
        """The mode as a word."""
        return "frozen" if self.frozen else "train" if self.training else "eval"


@dataclass(frozen=True)
class ModeReport:
    """The result of `mode_report`; prints as a table, also in a notebook.

    Attributes:
        model: name of the model's class.
        rows: one row per registered module, the model itself first.
        unreached: modules that `model.eval()` does not reach; `path` is how the code names them.
        random_in_eval: paths of the modules whose own code is random in eval mode; None without an input.
    """

    model: str
    rows: tuple[ModeRow, ...]
    unreached: tuple[ModeRow, ...]
    random_in_eval: tuple[str, ...] | None

    @property
    def notable(self) -> tuple[ModeRow, ...]:
        """The rows worth showing: sensitive, frozen, or in another mode than the model itself."""
        root = self.rows[0]
        return tuple(
            row
            for row in self.rows
            if row is root or row.behaviour or row.frozen or row.training != root.training
        )

    @property
    def summary(self) -> str:
        """The counts in one line."""
        frozen = sum(row.frozen for row in self.rows)
        training = sum(row.training for row in self.rows)
        sensitive = sum(row.behaviour is not None for row in (*self.rows, *self.unreached))
        out_of_reach = sum(row.behaviour is not None for row in self.unreached)
        return (
            f"{self.model}: {training} of {len(self.rows)} modules in train mode, {frozen} frozen,"
            f" {sensitive} sensitive to the mode"
            f"{f', {out_of_reach} of these out of reach of eval()' if out_of_reach else ''}"
        )

    @property
    def findings(self) -> tuple[str, ...]:
        """Behaviour that `model.eval()` does not switch off, one sentence each."""
        found = [
            f"{row.path} ({row.kind}, {row.mode}{f', {row.behaviour}' if row.behaviour else ''})"
            " is out of reach of model.eval(): use nn.ModuleList or nn.ModuleDict"
            for row in self.unreached
        ]
        found += [
            f"{path or 'the model itself'} is random in eval mode: F.dropout without training=self.training?"
            for path in self.random_in_eval or ()
        ]
        return tuple(found)

    def __repr__(self) -> str:
        lines = [self.summary, *("  " + line for line in _table(_cells(self.notable)))]
        hidden = len(self.rows) - len(self.notable)
        if hidden:
            lines.append(f"  and {hidden} more in {self.rows[0].mode} mode that do the same in both modes")
        lines += [f"! {finding}" for finding in self.findings]
        if self.random_in_eval is None:
            lines.append("Pass an input, mode_report(model, x), to also find dropout that eval() leaves on.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *body = ([html.escape(cell) for cell in row] for row in _cells(self.notable))
        heads = "".join(f"<th>{cell}</th>" for cell in head)
        rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in body)
        notes = "".join(f"<p>&#9888; {html.escape(finding)}</p>" for finding in self.findings)
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        return f"<p>{html.escape(self.summary)}</p>{table}{notes}"


def mode_report(model: nn.Module, *inputs: Any) -> ModeReport:
    """Report which submodules are training, frozen and mode-sensitive, and what `model.eval()` cannot reach.

    Args:
        model: the model, which is not changed.
        inputs: if given, the model is run on them a few times in eval mode, to find remaining randomness.
            Modes, buffers and random states are restored.

    Raises:
        TypeError: `model` is not a module.

    Examples:
        >>> tn.mode_report(model, images).summary
        'TinyVisionMLP: 3 of 3 modules in train mode, 0 frozen, 1 sensitive to the mode'
    """
    require_models("mode_report", (model,))
    hidden = unregistered_modules(model)
    return ModeReport(
        model=type(model).__name__,
        rows=tuple(_row(path, module) for path, module in named_modules(model)),
        unreached=tuple(
            _row(f"{place}.{path}" if path else place, module)
            for place, found in hidden.items()
            for path, module in named_modules(found)
        ),
        random_in_eval=tuple(random_in_eval(model, inputs, hidden.values())) if inputs else None,
    )


def _row(path: str, module: nn.Module) -> ModeRow:
    return ModeRow(
        path=path,
        kind=type(module).__name__,
        training=module.training,
        frozen=is_frozen(module),
        behaviour=train_behaviour(module),
    )


def _cells(rows: Sequence[ModeRow]) -> list[tuple[str, str, str, str]]:
    head = ("module", "class", "mode", "differs in train mode")
    return [head, *((row.path or "(the model)", row.kind, row.mode, row.behaviour or "") for row in rows)]


def _table(cells: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
