"""CIFAR-10, student alone, mixup, KD and STKD in two regimes: capacity-limited and data-limited.

    python benchmarks/two_regimes.py --data cifar10:PATH --out runs/two_regimes \\
        --result results/cifar10_two_regimes.json

Every hyper-parameter was fixed beforehand (T = 4, w = 0.9, alpha = 1, K = 2; the same optimiser for all), so nothing
was chosen on test images. Runs are ordinary run directories: started again, the script goes on where it stopped. Two
processes of one thread each run side by side.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import by_seed, stkd, with_differences, write_result

METHODS = {"alone": "ce", "mixup": "mixup", "KD": "kd", "STKD": "stkd"}
COMMON = [
    "--batch-size",
    "128",
    "--drop-last",
    "true",
    "--nesterov",
    "true",
    "--schedule",
    "cosine",
    "--warmup-epochs",
    "1",
]
COMMON += ["--precision", "bf16"]
TEACHER = ["--model", "resnet20", "--epochs", "15", "--eval-every", "5", "--seed", "0"]
REGIMES = {
    "capacity-limited": ["--student", "resnet8", "--epochs", "8", "--eval-every", "4"],
    "data-limited": ["--student", "resnet14", "--epochs", "50", "--eval-every", "10", "--train-images", "4000"],
}
SEEDS = (0, 1, 2)


def main() -> None:
    """Train the teacher and all students, then write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    data = ["--data", args.data]

    teacher = args.out / "teacher"
    with ThreadPoolExecutor(2) as pool:
        taught = pool.submit(stkd, "train", *data, *TEACHER, *COMMON, "--out", str(teacher), threads=1)
        jobs: list[Future[str]] = []
        for needs_teacher in (False, True):
            for seed in SEEDS:
                for regime, options in REGIMES.items():
                    for name, method in METHODS.items():
                        if needs_teacher != (method in ("kd", "stkd")):
                            continue
                        out = args.out / regime / f"{name}-{seed}"
                        flags = ["--method", method, "--seed", str(seed), "--out", str(out)]
                        command = ["distill", *data, *options, *COMMON, *flags]
                        if needs_teacher:
                            taught.result()
                            command += ["--teacher-weights", str(teacher)]
                        jobs.append(pool.submit(stkd, *command, threads=1))
        for job in jobs:
            job.result()
    write_result(args.result, collect(args.out))
    print(f"wrote {args.result}")


def collect(out: Path) -> dict[str, Any]:
    """Scores of the last epoch by regime and method, and differences to KD."""

    def last(run: Path) -> dict[str, float]:
        scores: dict[str, float] = json.loads((run / "result.json").read_text())["test"]
        return scores

    def arm(regime: str, name: str) -> dict[str, Any]:
        runs = [last(out / regime / f"{name}-{seed}") for seed in SEEDS]
        return by_seed(SEEDS, {score: [run[score] for run in runs] for score in ("top1", "nll")})

    environment = json.loads((out / "teacher" / "env.json").read_text())
    return {
        "what": "test accuracy and NLL of the last epoch, CIFAR-10 (10,000 test images)",
        "protocol": {"common": COMMON, "teacher": TEACHER, "students": REGIMES, "methods": METHODS},
        "environment": {k: environment[k] for k in ("python", "platform", "versions", "cpu", "git", "data")},
        "teacher": last(out / "teacher"),
        "regimes": {
            regime: with_differences({name: arm(regime, name) for name in METHODS}, "KD") for regime in REGIMES
        },
    }


if __name__ == "__main__":
    main()
