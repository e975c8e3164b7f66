"""A report of `check_model` as text, rich table, HTML, JSON, JUnit XML and Markdown: title, order, columns,
colours, keys, and the summary of ten lines.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .results import Result, Results, Status

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.WARNED: "yellow",
    Status.SKIPPED: "dim",
    Status.XFAILED: "yellow",
    Status.XPASSED: "bold red",
    Status.ERROR: "magenta",
}
_SKIPPED = (Status.SKIPPED, Status.XFAILED)


def _title(report: Results) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in report.counts.items())
    return f"{report.name}: {len(report)} checks in {report.seconds:.1f} s: {counts}"


def to_summary(report: Results, lines: int = 10) -> str:
    """Return the report in a few lines: what fails, what warns, and the counts."""
    objections = [*report.bad, *(r for r in report.ranked("warned", "error") if not r.bad)]
    lines -= len(report.notices)
    shown = objections if len(objections) < lines else objections[: lines - 2]
    texts = [f"{r.status} {r.id}: {report.message(r).partition(chr(10))[0]}{_more(report, r)}" for r in shown]
    rest = len(objections) - len(shown)
    more = [f"and {rest} more: print(report) shows every check"] if rest else []
    return "\n".join([_title(report), *texts, *more, *report.notices])


def _more(report: Results, result: Result) -> str:
    count = len(report.followers(result.id))
    return f" (and {count} check{'s' * (count > 1)} that follow from it)" if count else ""


def _ordered(report: Results) -> list[Result]:
    """Return the results that need attention first, then the others in the order they ran."""
    first = [*report.bad, *(r for r in report.ranked("warned", "error", "xfailed") if not r.bad)]
    ids = {result.id for result in first}
    return [*first, *(result for result in report if result.id not in ids)]


def to_text(report: Results) -> str:
    """Return the report as plain text: one line for every check, and messages in full."""
    width = max((len(result.id) for result in report), default=0)
    lines = [_title(report)]
    for result in _ordered(report):
        first, *rest = report.message(result).split("\n")
        lines.append(f"{result.status:<8} {result.id:<{width}}  {first}".rstrip())
        if result.status is not Status.SKIPPED:
            lines.extend(f"{'':<9}{line}" for line in rest)
    return "\n".join([*lines, *report.notices])


def to_table(report: Results) -> Table:
    """Return the report as a table for `rich.print`."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=_title(report), title_justify="left", caption="\n".join(report.notices) or None)
    table.add_column("status")
    table.add_column("check", no_wrap=True)
    table.add_column("level")
    table.add_column("seconds", justify="right")
    table.add_column("message", overflow="fold")
    for result in _ordered(report):
        status = Text(result.status, style=_STYLES[result.status])
        seconds, message = (
            f"{result.seconds:.2f}",
            Text(report.message(result)),
        )  # so that brackets are not markup
        table.add_row(status, Text(result.id), Text(result.level), seconds, message)
    return table


def to_html(report: Results) -> str:
    """Return the report as an HTML fragment with its own styles, for a notebook."""
    import jinja2

    loader = jinja2.PackageLoader(__package__ or "", "")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.get_template("report.html.j2")
    quiet = (Status.PASSED, *_SKIPPED)
    ordered = _ordered(report)
    return template.render(
        report=report,
        title=_title(report),
        objections=[result for result in ordered if result.status not in quiet],
        others=[result for result in ordered if result.status in quiet],
    )


def to_json(report: Results) -> str:
    """Return the report as JSON."""
    content = {
        "model": report.name,
        "ok": report.ok,
        "counts": report.counts,
        "seconds": round(report.seconds, 4),
        "environment": report.environment,
        "unneeded": report.unneeded,
        "results": [
            {
                "id": result.id,
                "level": result.level,
                "status": result.status,
                "message": report.message(result),
                "follows": result.follows,
                "seconds": round(result.seconds, 4),
            }
            for result in report
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def to_junit(report: Results) -> str:
    """Return the report as JUnit XML, where warnings are output of passed tests."""
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    suite = Element(
        "testsuite",
        name=f"tinynets.check_model({report.name})",
        tests=str(len(report)),
        failures=str(sum(result.bad and result.status is not Status.ERROR for result in report)),
        errors=str(sum(result.bad and result.status is Status.ERROR for result in report)),
        skipped=str(len(report.with_status(*_SKIPPED))),
        time=f"{report.seconds:.3f}",
    )
    properties = SubElement(suite, "properties")
    about = {**report.environment, **({"unneeded": ", ".join(report.unneeded)} if report.unneeded else {})}
    for name, value in about.items():
        SubElement(properties, "property", name=name, value=value)
    for result in report:
        time, message = f"{result.seconds:.3f}", report.message(result)
        case = SubElement(suite, "testcase", classname=report.name, name=result.id, time=time)
        if result.bad:
            first = message.partition("\n")[0]
            kind = "error" if result.status is Status.ERROR else "failure"
            SubElement(case, kind, message=first, type=result.status).text = message
        elif result.status in _SKIPPED:
            SubElement(case, "skipped", message=message, type=result.status)
        elif message:
            SubElement(case, "system-out").text = f"{result.status}: {message}"
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def to_markdown(report: Results) -> str:
    """Return the report as a table in Markdown."""
    lines = [f"**{_title(report)}**", "", "| check | level | status | message |", "|---|---|---|---|"]
    for result in report:
        message = result.message.replace("|", "\\|").replace("\n", "<br>")
        lines.append(f"| `{result.id}` | {result.level} | {result.status} | {message} |")
    versions = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    return "\n".join([*lines, "", *report.notices, versions]) + "\n"
