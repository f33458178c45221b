"""Pages that people look at: self-contained HTML, no network."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import StkdError

__all__ = ["write_report"]


def write_report(path: Path) -> Path:
    """Write the page of a run or of a comparison, `report.html` in its directory.

    Args:
        path: Directory of either.

    Returns:
        The page.

    Raises:
        StkdError: It is neither, it is not finished, or a file in it is damaged.
    """
    from .comparison import RECORD, write_comparison
    from .run import write_run

    if (path / RECORD).is_file():
        return write_comparison(path)
    if (path / "config.yaml").is_file():
        return write_run(path)
    raise StkdError(f"{path} is neither a run nor a comparison; give a directory that stkd wrote")
