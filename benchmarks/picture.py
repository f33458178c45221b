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
from stkd.report.plots.curves import dots
from stkd.report.styles import styles

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write docs/demo.png."""
    rows = json.loads((ROOT / "results" / "digits_demo.json").read_text())["rows"]
    teacher, students = rows[0], rows[1:]
    accuracies = {row["name"]: row["accuracies"] for row in students}
    smaller = round(teacher["params"] / students[0]["params"])
    plot = dots(accuracies, "test accuracy", styles(accuracies), teacher["accuracies"][0])
    caption = f"A student {smaller} times smaller than its teacher; every seed, and mean ± standard deviation."
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "picture.html"
        seeds = Section("seeds", "digits", {0: {"figure": Figure(plot, caption)}})
        plain = render("Four ways to teach a small student", [], [seeds])
        html.write_text(plain.replace("</style>", "section { margin: 0 } h2, .tools, footer { display: none }</style>"))
        chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        quiet = ["--disable-background-networking", "--no-first-run", f"--user-data-dir={folder}/profile"]
        shot = ["--window-size=900,420", "--virtual-time-budget=4000", f"--screenshot={ROOT / 'docs' / 'demo.png'}"]
        subprocess.run([*chromium, *quiet, *shot, html.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
