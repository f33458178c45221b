"""What a preflight found."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from ...preflight.finding import LEVELS, Report
from .plain import plain_console

__all__ = ["show_findings"]

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def show_findings(report: Report) -> None:
    """Print a row for each finding, and how many there are."""
    console = plain_console()
    table = Table(box=box.SIMPLE, show_header=False)
    for check, finding in report.findings:
        table.add_row(Text(finding.level, _STYLES[finding.level]), Text(check), Text(finding.message))
    if report.findings:
        console.print(table)
    numbers = {level: len(report.of(level)) for level in LEVELS}
    counts = [f"{number} {level}{'' if number == 1 else 's'}" for level, number in numbers.items()]
    console.print(Text(f"{', '.join(counts)}; it took {report.seconds:.1f} s"))
