"""A report as text, as a rich table, as JSON, JUnit XML and Markdown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .results import Results, Status

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.WARNED: "yellow",
    Status.SKIPPED: "dim",
    Status.XFAILED: "yellow",
    Status.XPASSED: "bold red",
}


def _counts(report: Results) -> str:
    return ", ".join(f"{count} {status}" for status, count in report.counts.items())


def _title(report: Results) -> str:
    return f"{report.name}: {len(report)} checks in {report.seconds:.1f} s: {_counts(report)}"


def to_text(report: Results) -> str:
    """Return the report as plain text: one line for every check, the message under those that object."""
    width = max((len(result.id) for result in report), default=0)
    lines = [_title(report)]
    for result in report:
        first, *rest = (result.message or "").split("\n")
        lines.append(f"{result.status:<8} {result.id:<{width}}  {first}".rstrip())
        if result.status is not Status.SKIPPED:
            lines.extend(f"{'':<9}{line}" for line in rest)
    return "\n".join(lines)


def to_table(report: Results) -> Table:
    """Return the report as a table for `rich.print`."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=_title(report), title_justify="left")
    table.add_column("status")
    table.add_column("check", no_wrap=True)
    table.add_column("level")
    table.add_column("seconds", justify="right")
    table.add_column("message", overflow="fold")
    for result in report:
        style = _STYLES[result.status]
        status, message = Text(result.status, style=style), Text(result.message)
        table.add_row(status, Text(result.id), Text(result.level), f"{result.seconds:.2f}", message)
    return table


def to_json(report: Results) -> str:
    """Return the report as JSON."""
    results = [
        {
            "id": result.id,
            "level": result.level.value,
            "status": result.status.value,
            "message": result.message,
            "seconds": round(result.seconds, 4),
        }
        for result in report
    ]
    content = {
        "model": report.name,
        "ok": report.ok,
        "counts": report.counts,
        "seconds": round(report.seconds, 4),
        "environment": report.environment,
        "results": results,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def to_junit(report: Results) -> str:
    """Return the report as JUnit XML: warnings are output of a test that passed, for the format has none."""
    from xml.etree import ElementTree

    suite = ElementTree.Element(
        "testsuite",
        name=f"tinynets.check_model({report.name})",
        tests=str(len(report)),
        failures=str(sum(result.bad for result in report)),
        errors="0",
        skipped=str(len(report.with_status(Status.SKIPPED, Status.XFAILED))),
        time=f"{report.seconds:.3f}",
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in report.environment.items():
        ElementTree.SubElement(properties, "property", name=name, value=value)
    for result in report:
        case = ElementTree.SubElement(
            suite, "testcase", classname=report.name, name=result.id, time=f"{result.seconds:.3f}"
        )
        if result.bad:
            first = result.message.split("\n", 1)[0]
            ElementTree.SubElement(case, "failure", message=first, type=result.status).text = result.message
        elif result.status in (Status.SKIPPED, Status.XFAILED):
            ElementTree.SubElement(case, "skipped", message=result.message, type=result.status)
        elif result.message:
            ElementTree.SubElement(case, "system-out").text = f"{result.status}: {result.message}"
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def to_markdown(report: Results) -> str:
    """Return the report as a table in Markdown."""
    lines = [f"**{_title(report)}**", "", "| check | level | status | message |", "|---|---|---|---|"]
    for result in report:
        message = result.message.replace("|", "\\|").replace("\n", "<br>")
        lines.append(f"| `{result.id}` | {result.level} | {result.status} | {message} |")
    versions = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    return "\n".join([*lines, "", versions]) + "\n"
