"""The record of a comparison, comparison.json, as the page reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import records
from ..core.errors import StkdError

__all__ = ["RECORD", "Panel", "Row", "panels_of", "read_record"]

RECORD = "comparison.json"
_SCHEMA = 2
_MOST_CURVES = 7  # methods that a figure of curves shows at most


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a comparison.

    Raises:
        StkdError: It is missing, damaged, of another version, or nothing is finished in it.
    """
    file = folder / RECORD
    try:
        record = records.read_record(file)
        if record["schema"] != _SCHEMA:
            raise StkdError(f"{file} was written by another version of stkd; run its comparison again")
        panels = panels_of(record)
    except OSError:
        raise StkdError(f"cannot read {file}; give the directory of a comparison") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StkdError(f"{file} is damaged; run the comparison again, finished runs are kept") from None
    if not any(panel.finished for panel in panels):
        raise StkdError(f"no run of the comparison in {folder} is finished; run it again to go on")
    return record


@dataclass(frozen=True)
class Row:
    """A method with one student on one data set.

    Attributes:
        cell: As the record has it.
    """

    cell: dict[str, Any]

    @property
    def name(self) -> str:
        """Label of the method."""
        return str(self.cell["method"])

    @property
    def spec(self) -> str:
        """The method as `--method` takes it."""
        return str(self.cell["spec"])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Finished runs."""
        runs: list[dict[str, Any]] = self.cell["runs"]
        return runs

    @property
    def top1(self) -> float:
        """Mean accuracy over the seeds."""
        return float(self.cell["mean"]["top1"])

    def accuracies(self) -> list[float]:
        """Accuracy of each seed."""
        return [float(run["test"]["top1"]) for run in self.runs]


@dataclass(frozen=True)
class Panel:
    """All methods with one student on one data set, in the order of the record.

    Attributes:
        data, student: Names.
        rows: One for each method.
        baseline: Label that the others are compared with.
    """

    data: str
    student: str
    rows: list[Row]
    baseline: str

    @property
    def name(self) -> str:
        """For the reader to choose by."""
        return f"{self.student} on {self.data}"

    @property
    def finished(self) -> list[Row]:
        """Methods with a finished run."""
        return [row for row in self.rows if row.runs]

    def best(self, spec: str = "") -> Row | None:
        """The method with the highest mean accuracy among those whose text begins like this."""
        return max((r for r in self.finished if r.spec.startswith(spec)), key=lambda r: r.top1, default=None)

    @property
    def alone(self) -> Row | None:
        """The student without a teacher."""
        return next((row for row in self.finished if row.spec.partition(":")[0] == "ce"), None)

    def evaluated(self) -> list[Row]:
        """The few methods whose predictions are shown: student alone, baseline, best form of STKD, best of all."""
        base = next((row for row in self.finished if row.name == self.baseline), None)
        rows = [self.alone, base, self.best("stkd"), self.best()]
        return [row for row in self.finished if row in rows]

    def main(self) -> Row | None:
        """The student whose examples are shown: by the best form of STKD if there is one, else the best taught one."""
        taught = [row for row in self.finished if row.runs[0]["teacher_passes"]]
        return self.best("stkd") or max(taught, key=lambda r: r.top1, default=None)

    def drawn(self) -> list[Row]:
        """Methods whose curves are drawn: all, or those that are evaluated and the best of the others."""
        first = self.evaluated()
        others = sorted((r for r in self.finished if r not in first), key=lambda r: -r.top1)
        rows = first + others[: max(0, _MOST_CURVES - len(first))]
        return [row for row in self.finished if row in rows]


def panels_of(record: dict[str, Any]) -> list[Panel]:
    """One panel for each pair of data set and student."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for cell in record["cells"]:
        row = Row({"failed": [], "mean": {}, "std": {}, "paired": None, **cell})
        if row.runs:
            _ = row.accuracies(), row.top1  # raises here where the record is damaged
        rows.setdefault((str(cell["data"]), str(cell["student"])), []).append(row)
    return [Panel(data, student, cells, str(record["baseline"])) for (data, student), cells in rows.items()]
