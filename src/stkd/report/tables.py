"""Tables of the pages: cells with the value that they are sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["EMPTY", "Cell", "Table", "interval", "number", "percent"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is shown.
        value: What the column is sorted by, where that is not the text.
        colour: Of a mark in front of it.
        span: Columns that it takes.
        wraps: Whether the text may take several lines.
    """

    text: str
    value: float | None = None
    colour: str | None = None
    span: int = 1
    wraps: bool = False


EMPTY = Cell("")


def number(value: float | None, form: str) -> Cell:
    """A number, formatted; empty for None."""
    return EMPTY if value is None else Cell(format(value, form), value)


def percent(value: float | None) -> Cell:
    """A share in per cent, without the sign; empty for None."""
    return EMPTY if value is None else Cell(f"{100 * value:.2f}", value)


def interval(bounds: Sequence[float] | None) -> Cell:
    """An interval of a share in per cent, sorted by its lower end; empty for None."""
    return EMPTY if bounds is None else Cell(f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}", bounds[0])


@dataclass(frozen=True)
class Table:
    """A table, which a reader can sort by any column.

    Attributes:
        caption: Above the table.
        header: Names of the columns.
        rows: Cells, the first of each row naming it.
        strong: Number of rows at the top that stand out.
        sortable: Whether the order of the rows is the reader's to choose.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    strong: int = 0
    sortable: bool = True

    @property
    def wide(self) -> bool:
        """Whether it has more columns than a phone is wide: there each row becomes a list of its cells."""
        return len(self.header) > 3

    def without_columns(self, *names: str) -> Table:
        """The table without some columns, and without those that are empty in every row."""
        keep = [j for j, name in enumerate(self.header) if name not in names and any(row[j].text for row in self.rows)]
        rows = [[row[j] for j in keep] for row in self.rows]
        return Table(self.caption, [self.header[j] for j in keep], rows, self.strong, self.sortable)

    def turned(self) -> Table:
        """The table with its rows as columns: of few rows with many cells, which then fit side by side on a phone."""
        header = [self.header[0], *(row[0].text for row in self.rows)]
        rows = [[Cell(name), *(row[j] for row in self.rows)] for j, name in enumerate(self.header) if j]
        return Table(self.caption, header, rows, sortable=False)
