"""What was found of files that are read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.text import Text

from ...runs.verification import Found
from .plain import plain_console, printable

__all__ = ["show_verification"]

_STYLES = {"damaged": "bold red", "missing": "bold red", "unchecked": "dim"}
_WORDS = {
    "damaged": "damaged",
    "missing": "missing",
    "unchecked": "without a digest, since an earlier version of stkd wrote them",
}


def show_verification(found: Mapping[Path, Found], path: Path) -> None:
    """Print a line for each file that is not right, and how many there are of each kind."""
    console = plain_console()
    for file, what in found.items():
        if what != "right":
            console.print(Text.assemble((f"{what:<11}", _STYLES[what]), printable(str(file))), soft_wrap=True)
    numbers = Counter[str](found.values())
    counts = [f"{numbers['right']:,} of {len(found):,} files are right"]
    counts += [f"{numbers[what]:,} {words}" for what, words in _WORDS.items() if numbers[what]]
    console.print(Text(f"{printable(str(path))}: {', '.join(counts)}"), soft_wrap=True)
