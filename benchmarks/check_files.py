"""Time and memory of `stkd check --full` on many small files, at first and when all were seen before.

    python benchmarks/check_files.py --files 100000 --result results/check_files.json

The files are JPEGs of 64 pixels made here, ten classes, every one another picture. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import ROOT, write_result
from PIL import Image

from stkd.runs.environment import environment

PEAK = """
import resource, sys
from stkd.cli.main import main
code = main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak, file=sys.stderr)
raise SystemExit(code)
"""


def make_files(root: Path, files: int) -> None:
    """Smooth random pictures in ten class folders."""
    rng = np.random.default_rng(0)
    for c in range(10):
        (root / f"class{c}").mkdir(parents=True)
    for i in range(files):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(root / f"class{i % 10}" / f"{i}.jpg", quality=90)


def checked(root: Path, cache: Path) -> dict[str, Any]:
    """One `stkd check --full` in a process of its own."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "check", "--data", f"folder:{root}", "--image-size", "96", "--full", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "STKD_CACHE": str(cache), "PYTHONPATH": str(ROOT / "src")},
    )
    report = json.loads(done.stdout)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "of_the_checks": report["seconds"],
        "peak_mb": round(int(done.stderr.split()[-1]) / 1024),
        "findings": len(report["findings"]),
    }


def main() -> None:
    """Make the files, check them twice, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        root, cache = Path(folder) / "photos", Path(folder) / "cache"
        make_files(root, arguments.files)
        result = {
            "what": "stkd check --full on JPEGs of 64 pixels: seconds and peak memory",
            "files": arguments.files,
            "environment": environment(),
            "first": checked(root, cache),
            "again": checked(root, cache),
        }
    write_result(arguments.result, result)


if __name__ == "__main__":
    main()
