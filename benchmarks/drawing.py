"""How pictures for the docs are drawn with matplotlib, and written as SVG that is the same each time."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["STYLE", "svg"]

# On white and on black paper: a grey for text and frames, and the colours of the reports.
STYLE = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), "#7d8590"),
    "grid.color": "#7d859040",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text, in a font of the reader's
    "svg.hashsalt": "stkd",  # the same names inside the file each time
}


def svg(figure: Figure) -> str:
    """A figure as SVG, without trailing blanks; to be called inside the context of `STYLE`."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
