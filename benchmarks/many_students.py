"""Three students from one teacher pass against three runs; a student from a cache against one without a teacher.

    python benchmarks/many_students.py --result results/many_students.json

Runs of stkd in one process, on random images of CIFAR's size (their content does not matter for time), resnet56 ->
resnet8, batch 64. One pass for three students is measured in float32, compiled, as in a long run; in the precision that
stkd chooses, uncompiled, as in a short one; and in that precision, compiled, with the teacher on OpenVINO where it is
installed, as in a long one. The two sides take turns, each ratio is that of one turn, and the median of all turns
counts. The first turn is left out: it warms up. Figures that the file holds are not measured again. Half an hour on
two idle cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import read_result, write_result

import stkd
from stkd.data import DataSet, Split
from stkd.runs.environment import environment

TEACHER, STUDENT, BATCH, STUDENTS = "resnet56", "resnet8", 64, 3


LONG = 15_360
"""Images of a run that is long enough for the teacher to be converted."""


def data_set(images: int) -> DataSet:
    """Random images of CIFAR-100's size, without a test split, so that training is all that is timed."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    split = Split(pixels, rng.integers(0, 100, images))
    classes = tuple(map(str, range(100)))
    return DataSet("random", classes, 3, 32, (0.5,) * 3, (0.25,) * 3, "crop4", split, None, None, f"random{images}")


def images_per_s(results: list[stkd.Result]) -> float:
    """Student-images a second; times of students beside each other are the same time, so it counts once."""
    together = max(result.scores["seconds"] for result in results)
    return sum(result.scores["images_seen"] for result in results) / together


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--images", type=int, default=5120, help="images of a short run")
    args = parser.parse_args()
    teacher = stkd.models.create(TEACHER, num_classes=100)
    few, many = data_set(args.images), data_set(LONG)
    common: dict[str, Any] = {"epochs": 1, "batch_size": BATCH, "compile": "none", "preflight": "off"}  # random weights

    with tempfile.TemporaryDirectory() as folder:
        made = 0

        def out() -> Path:
            nonlocal made
            made += 1
            return Path(folder) / f"run-{made}"

        cache = stkd.cache_teacher(teacher, few, out=out(), **common).out

        def together(data: DataSet, **options: Any) -> float:
            students = {str(seed): {"student": STUDENT, "seed": seed} for seed in range(STUDENTS)}
            results = stkd.distill_many(teacher, students, data, out=out(), **{**common, **options})
            return images_per_s([r for r in results.values() if isinstance(r, stkd.Result)])

        def apart(data: DataSet, **options: Any) -> float:
            options = {**common, **options}
            runs = [stkd.distill(teacher, STUDENT, data, out=out(), seed=s, **options) for s in range(STUDENTS)]
            seconds = sum(run.scores["seconds"] for run in runs)
            return sum(run.scores["images_seen"] for run in runs) / seconds

        def pair(data: DataSet, **options: Any) -> dict[str, Any]:
            return compared(partial(together, data, **options), partial(apart, data, **options), args.turns)

        def cached() -> float:
            return images_per_s([stkd.distill(None, STUDENT, few, out=out(), teacher_cache=cache, **common)])

        def alone() -> float:
            return images_per_s([stkd.distill(None, STUDENT, few, "mixup", out=out(), **common)])

        jobs: dict[str, Callable[[], dict[str, Any]]] = {
            "one_pass_against_three_runs": partial(pair, few),
            "one_pass_against_three_runs_float32": partial(pair, many, precision="32", compile="all"),
            "one_pass_against_three_runs_long": partial(pair, many, compile="all"),
            "cached_against_no_teacher": partial(compared, cached, alone, args.turns),
        }
        result = read_result(args.result) | {
            "what": "student-images per second and their ratios, by turn; the first turn is left out",
            "models": {"teacher": TEACHER, "student": STUDENT, "students": STUDENTS, "batch_size": BATCH},
            "images": {"short": len(few.train), "long": len(many.train)},
            "environment": environment(),
        }
        for name, measure in jobs.items():
            if name not in result:
                result[name] = {**measure(), "git": result["environment"]["git"]}
                print(f"{name}: median ratio {result[name]['median_ratio']}", flush=True)
                write_result(args.result, result)


def compared(first: Callable[[], float], second: Callable[[], float], turns: int) -> dict[str, Any]:
    """Speeds of both by turn, the order changing from turn to turn, and the median of their ratios."""
    pairs = []
    for turn in range(turns + 1):
        if turn % 2:
            b, a = second(), first()
        else:
            a, b = first(), second()
        pairs.append((a, b))
    pairs = pairs[1:]
    ratios = [a / b for a, b in pairs]
    return {
        "images_per_s": [[round(x, 1) for x in pair] for pair in pairs],
        "ratios": [round(r, 3) for r in ratios],
        "median_ratio": round(statistics.median(ratios), 3),
    }


if __name__ == "__main__":
    main()
