"""Write the result tables of README.md and docs/ from the files in results/.

python benchmarks/tables.py          (a test checks that the documents are what this writes)

A document has a table of results/NAME.json between the lines `<!-- results/NAME.json -->` and `<!-- end -->`; a
table of several files names them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from tables_cost import loader, many_students, serve_load, shards, startup, suggest, way_out
from tables_faults import faults
from tables_scale import scale
from tables_scores import ablations, int8_students, int8_teachers, methods, precision, probes, two_regimes
from tables_speed import machines, peers, speed
from tables_study import study_digits, study_photos

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- ((?:results/\w+\.json )+)-->\n.*?<!-- end -->", re.DOTALL)

TABLES: dict[str, Callable[..., str]] = {
    "way_out": way_out,
    "probes": probes,
    "shards": shards,
    "int8_students": int8_students,
    "cifar10_two_regimes": two_regimes,
    "methods": methods,
    "study_digits": study_digits,
    "study_photos": study_photos,
    "speed_avx2 speed_bf16 speed_amx": machines,
    "peers": peers,
    "speed_amx": speed,
    "speed_bf16": speed,
    "speed_avx2": speed,
    "precision": precision,
    "many_students": many_students,
    "int8_teachers": int8_teachers,
    "loader": loader,
    "serve_load": serve_load,
    "startup": startup,
    "scale": scale,
    "suggest": suggest,
    "faults": faults,
    "ablations": ablations,
}


def rendered(text: str) -> str:
    """A document with every table made anew."""

    def block(old: re.Match[str]) -> str:
        files = [ROOT / file for file in old[1].split()]
        if not all(file.exists() for file in files):  # not measured yet; the document says so
            return old[0]
        table = TABLES[" ".join(file.stem for file in files)]
        return f"<!-- {old[1]}-->\n{table(*(json.loads(file.read_text()) for file in files))}\n<!-- end -->"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    for file in DOCUMENTS:
        file.write_text(rendered(file.read_text()))
