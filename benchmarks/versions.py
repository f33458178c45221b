"""This version beside another one: the training step of three pairs, and three students of one teacher pass.

    python benchmarks/versions.py --other CHECKOUT --result results/versions.json

CHECKOUT is another checkout of stkd, for example made by `git worktree add CHECKOUT REVISION`. Both versions run in
processes of their own with the packages of this environment, in turn, so that a busy machine disturbs both alike; a
ratio is that of one turn, and the median of all turns counts. Steps are those of `stkd bench`, as `auto` runs a long
run; students are those of a short run in bf16. About ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from common import CIFAR_PAIRS, ROOT, read_result, write_result

from stkd.runs.environment import environment

BENCH = ["-m", "stkd", "bench", "--pairs", "1", "--seconds", "4", "--json"]

STUDENTS = """
import json, sys, tempfile
import numpy as np
import stkd
from stkd.data import DataSet, Split
rng = np.random.default_rng(0)
split = Split(rng.integers(0, 256, (5120, 3, 32, 32), dtype=np.uint8), rng.integers(0, 100, 5120))
data = DataSet("random", tuple(map(str, range(100))), 3, 32, (.5,) * 3, (.25,) * 3, "crop4", split, None, None, "r")
teacher = stkd.models.create("resnet56", num_classes=100)
students = {str(seed): {"student": "resnet8", "seed": seed} for seed in range(3)}
with tempfile.TemporaryDirectory() as out:
    options = {"epochs": 1, "batch_size": 64, "precision": "bf16", "compile": "none"}
    results = list(stkd.distill_many(teacher, students, data, out=out, **options).values())
seen, seconds = sum(r.scores["images_seen"] for r in results), max(r.scores["seconds"] for r in results)
print(json.dumps({"images_per_s": seen / seconds}))
"""
"""Three resnet8 taught by a resnet56, with what both versions have in common."""


def images_per_s(checkout: Path, arguments: list[str]) -> float:
    """What a Python process with a version's source prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
    )
    return float(json.loads(done.stdout)["images_per_s"])


def compared(one: Callable[[], float], other: Callable[[], float], turns: int) -> dict[str, Any]:
    """Speeds of both by turn, the order changing from turn to turn, and the median of their ratios."""
    pairs = []
    for turn in range(turns):
        sides = [one, other] if turn % 2 else [other, one]
        speeds = [side() for side in sides]
        pairs.append(speeds if turn % 2 else speeds[::-1])
    return {
        "images_per_s": [[round(a, 1), round(b, 1)] for a, b in pairs],
        "ratio": round(median(a / b for a, b in pairs), 3),
    }


def main() -> None:
    """Measure what the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, required=True, help="checkout of the other version")
    parser.add_argument("--result", type=Path, required=True, help="result file, added to")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    figures = {pair: [*BENCH, *models] for pair, models in CIFAR_PAIRS.items()}
    figures["three resnet8 of one resnet56 pass, bf16"] = ["-c", STUDENTS]
    describe = ["git", "-C", str(arguments.other.resolve()), "describe", "--always", "--dirty"]
    result = read_result(arguments.result) | {
        "what": "images per second of this version and of the other, by turn, and the median of their ratios",
        "other": subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip(),
        "environment": environment(),
    }
    for name, command in figures.items():
        if name not in result.setdefault("figures", {}):
            sides = [partial(images_per_s, checkout, command) for checkout in (ROOT, arguments.other.resolve())]
            result["figures"][name] = compared(*sides, arguments.turns)
            print(f"{name}: {result['figures'][name]['ratio']}", flush=True)
            write_result(arguments.result, result)


if __name__ == "__main__":
    main()
