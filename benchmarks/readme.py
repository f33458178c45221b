"""Write the result tables of README.md from the files in results/.

python benchmarks/readme.py          (a test checks that the README is what this writes)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def two_regimes(result: dict[str, Any]) -> str:
    """Rows are methods, columns regimes."""
    regimes: dict[str, Any] = result["regimes"]
    lines = ["| test accuracy (%) | " + " | ".join(regimes) + " |", "| --- |" + " ---: |" * len(regimes)]
    for method in next(iter(regimes.values())):
        cells = [regime[method]["top1"] for regime in regimes.values()]
        shown = " | ".join(f"{100 * c['mean']:.2f} ± {100 * c['std']:.2f}" for c in cells)
        lines.append(f"| {method} | {shown} |")
    lines.append("| *teacher* |" + f" *{100 * result['teacher']['top1']:.2f}* |" * len(regimes))
    return "\n".join(lines)


TABLES = {"cifar10_two_regimes": two_regimes}


def rendered(readme: str) -> str:
    """The README with every table made anew."""
    for name, table in TABLES.items():
        result = json.loads((ROOT / "results" / f"{name}.json").read_text())
        start, end = f"<!-- results/{name}.json -->\n", "<!-- end -->"
        parts = readme.split(start)
        if len(parts) != 2 or end not in parts[1]:
            raise SystemExit(f"README.md must have one block {start.strip()} .. {end}")
        readme = f"{parts[0]}{start}{table(result)}\n{end}{parts[1].split(end, 1)[1]}"
    return readme


if __name__ == "__main__":
    file = ROOT / "README.md"
    file.write_text(rendered(file.read_text()))
