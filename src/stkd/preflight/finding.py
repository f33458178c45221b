"""What a preflight finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["LEVELS", "Finding", "Level", "Report", "counted", "quoted"]

Level = Literal["error", "warning", "note"]
"""An error stops a training in every mode but "off", a warning in mode "strict", a note never."""

LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        level: How serious it is.
        message: What is the matter, and what to do.
        names: What it is about, in full (files, classes); the message names the first.
        file: Name and content of a file that helps to mend it; None if there is none.
    """

    level: Level
    message: str
    names: Sequence[str] = ()
    file: tuple[str, str] | None = None


@dataclass(frozen=True)
class Report:
    """All findings of a preflight.

    Attributes:
        findings: By the name of the check that made them; errors first.
        facts: What was looked at: the teacher's accuracy, how many images and files.
        seconds: How long it took.
    """

    findings: Sequence[tuple[str, Finding]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def of(self, *levels: Level) -> list[Finding]:
        """The findings of some levels."""
        return [finding for _, finding in self.findings if finding.level in levels]

    def record(self) -> dict[str, Any]:
        """The report as JSON has it."""
        findings = [{"check": check, **asdict(finding)} for check, finding in self.findings]
        for finding in findings:
            finding["names"] = list(finding["names"])
            finding["file"] = finding["file"] and finding["file"][0]
        return {"seconds": round(self.seconds, 1), "facts": dict(self.facts), "findings": findings}


def counted(number: int, thing: str, plural: str = "") -> str:
    """A number of things, for a message: "1 file", "2,000 files"."""
    return f"{number:,} {thing if number == 1 else plural or thing + 's'}"


def quoted(names: Sequence[str], most: int = 3) -> str:
    """The first names, for a message."""
    return ", ".join(map(repr, names[:most])) + (" ..." if len(names) > most else "")
