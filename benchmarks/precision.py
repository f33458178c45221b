"""Whether speed costs accuracy: STKD in float32 and eager, in bf16 compiled, and with with an int8 teacher.

    python benchmarks/precision.py --data cifar10:PATH --out runs/precision --result results/precision.json

CIFAR-10, resnet20 -> resnet8 on 5,000 images, three seeds, all else alike. The int8 teacher is asked for, however much
it differs from the float32 one; the outcome of its check is in the file. Runs are ordinary run directories: started
again, the script goes on where it stopped. Needs `pip install 'stkd[openvino]'`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import by_seed, with_differences, write_result

import stkd
from stkd.runs.environment import environment

TEACHER: dict[str, Any] = {"train_images": 20000, "epochs": 10, "lr": 0.1, "precision": "bf16", "eval_every": 10}
STUDENT: dict[str, Any] = {"train_images": 5000, "epochs": 15, "lr": 0.1, "eval_every": 15}
COMMON: dict[str, Any] = {"batch_size": 64, "schedule": "cosine", "nesterov": True, "warmup_epochs": 1}
ARMS: dict[str, dict[str, Any]] = {
    "float32, eager": {"precision": "32", "compile": "none", "teacher_precision": "32"},
    "bf16, compiled, bf16 teacher": {"precision": "bf16", "compile": "all", "teacher_precision": "bf16"},
    "bf16, compiled, int8 teacher": {"precision": "bf16", "compile": "all", "teacher_precision": "int8"},
}
SEEDS = range(3)


def main() -> None:
    """Train what is not trained yet, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()

    teacher = stkd.train("resnet20", args.data, out=args.out / "teacher", **TEACHER, **COMMON)
    runs: dict[str, dict[int, dict[str, Any]]] = {arm: {} for arm in ARMS}
    for seed in SEEDS:
        for number, (arm, options) in enumerate(ARMS.items()):
            out = args.out / f"arm-{number}-seed-{seed}"
            run = stkd.distill(
                str(teacher.out), "resnet8", args.data, out=out, seed=seed, **STUDENT, **COMMON, **options
            )
            runs[arm][seed] = run.scores
            print(f"{arm}, seed {seed}: {run.scores['test']['top1']:.2%}", flush=True)
    result = {
        "what": "test scores of the last epoch, CIFAR-10 (10,000 test images), and differences to float32 by seed",
        "protocol": {"teacher": TEACHER, "student": STUDENT, "common": COMMON, "arms": ARMS, "seeds": list(SEEDS)},
        "environment": environment(),
        "teacher": teacher.scores["test"],
        "arms": with_differences({arm: collected(runs[arm]) for arm in ARMS}, next(iter(ARMS))),
    }
    write_result(args.result, result)


def collected(runs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Scores by seed, and how the runs were made."""
    values = {score: [run["test"][score] for run in runs.values()] for score in ("top1", "nll")}
    return {**by_seed(list(runs), values), "speed": [run["speed"] for run in runs.values()]}


if __name__ == "__main__":
    main()
