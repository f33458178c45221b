"""Draw README's picture from results/digits_demo.json; needs Chromium (Debian: apt-get install chromium).

stkd demo --out runs/demo && cp runs/demo/results.json results/digits_demo.json
python benchmarks/picture.py
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from stkd.report.page import Figure, Section, render
from stkd.report.plots.curves import curves
from stkd.report.styles import styles

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write docs/demo.png."""
    rows = json.loads((ROOT / "results" / "digits_demo.json").read_text())["rows"]
    teacher, students = rows[0], rows[1:]
    runs = {
        row["name"]: [[{"epoch": int(e), "test_top1": top1} for e, top1 in curve.items()] for curve in row["curves"]]
        for row in students
    }
    smaller = round(teacher["params"] / students[0]["params"])
    plot = curves(runs, "test_top1", "test accuracy", styles(runs), teacher["accuracies"][0])
    plot.update_yaxes(range=[0.85, 1.0])  # what the first epochs do is no news
    seeds = len(students[0]["accuracies"])
    caption = f"A student {smaller} times smaller than its teacher (dotted); mean and range over {seeds} seeds."
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "picture.html"
        shown = Section("seeds", "digits", {0: {"figure": Figure(plot, caption)}})
        plain = render("Four ways to teach a small student", [], [shown])
        html.write_text(plain.replace("</style>", "section { margin: 0 } h2, .tools, footer { display: none }</style>"))
        chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        quiet = ["--disable-background-networking", "--no-first-run", f"--user-data-dir={folder}/profile"]
        shot = ["--window-size=900,490", "--virtual-time-budget=4000", f"--screenshot={ROOT / 'docs' / 'demo.png'}"]
        subprocess.run([*chromium, *quiet, *shot, html.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
