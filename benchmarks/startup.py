"""Seconds until stkd answers, until it is imported, and until the first step of a CIFAR-10 run.

    python benchmarks/startup.py --data cifar10:PATH --result results/startup.json

Every measurement is a fresh process; the kinds take turns, so that a slow minute of the machine hits all of them. One
round before the first counted one fills the caches: compiled Python files, the page cache and the decoded set.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import write_result

from stkd.runs.environment import environment

# Ends the process once the optimizer has done a step.
FIRST_STEP = """
import os
import sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from stkd.cli.main import main
register_optimizer_step_post_hook(lambda *_: os._exit(0))
main(sys.argv[1:])
sys.exit("the run ended without a step")
"""


def commands(data: str, model: str, out: Path) -> dict[str, list[str]]:
    """What is measured, by name."""
    python = [sys.executable, "-c"]
    run = ["train", "--data", data, "--model", model, "--epochs", "1", "--out", str(out)]
    return {
        "help": [sys.executable, "-m", "stkd", "--help"],
        "import_torch": [*python, "import torch"],
        "import_torch_and_stkd": [*python, "import torch, stkd"],
        "import_torch_and_training": [*python, "import torch, stkd; stkd.distill"],
        "first_step": [*python, FIRST_STEP, *run],
    }


def seconds(command: list[str]) -> float:
    """Wall-clock time of a process from its start to its end."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stderr}")
    return time.perf_counter() - began


def measure(data: str, model: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of every round, by name."""
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            for name, command in commands(data, model, Path(folder) / "run").items():
                taken = seconds(command)
                if number:
                    times.setdefault(name, []).append(taken)
    return times


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="for example cifar10:PATH")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result", type=Path)
    args = parser.parse_args()
    times = measure(args.data, args.model, args.rounds)
    torch = times["import_torch"]
    added = {
        f"{name}_adds": [b - a for a, b in zip(torch, times[f"import_torch_and_{name}"], strict=True)]
        for name in ("stkd", "training")
    }
    medians = {name: round(statistics.median(values), 3) for name, values in (times | added).items()}
    for name, value in medians.items():
        print(f"{name:26} {value:7.3f} s")
    if args.result:
        kept = {k: v for k, v in environment().items() if k in ("python", "platform", "versions", "cpu", "gpu", "git")}
        rounded = {name: [round(v, 3) for v in values] for name, values in times.items()}
        result = {
            "what": "seconds of fresh processes that take turns, medians; 'adds' are medians of differences to the "
            "import of torch in the same round",
            "command": f"--data {args.data.partition(':')[0]} --model {args.model} --rounds {args.rounds}",
            "environment": kept,
            "median_s": medians,
            "rounds_s": rounded,
        }
        write_result(args.result, result)


if __name__ == "__main__":
    main()
