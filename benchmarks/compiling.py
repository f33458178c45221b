"""Whether compiling pays on this machine: steps compiled and uncompiled in turn, and what compiling takes.

    python benchmarks/compiling.py --result results/compiling.json

`stkd bench` in processes of their own, with random weights and images. How long a run must be for compiling to win back
its own time follows from the seconds before the first step and the difference of the speeds. About fifteen minutes on
two idle cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from common import CIFAR_PAIRS, LARGE_PAIR, bench, read_result, write_result

from stkd.runs.environment import environment

PRECISIONS = {
    "": ["--precision", "bf16", "--teacher-precision", "bf16"],
    ", float32": ["--precision", "32", "--teacher-precision", "32"],
}
SHORT = ["--pairs", "1", "--seconds", "4"]


def measure(arguments: list[str], turns: int) -> dict[str, Any]:
    """Speeds with and without compiling by turn, and the seconds before the first step."""
    speeds, setup = [], []
    with TemporaryDirectory() as cache:  # what one turn has compiled is there for the next
        folders = {"TORCHINDUCTOR_CACHE_DIR": cache, "STKD_CACHE": cache}
        for turn in range(turns):
            order = ("none", "all") if turn % 2 else ("all", "none")
            made = {mode: bench(*arguments, "--compile", mode, *SHORT, **folders) for mode in order}
            speeds.append([made["all"]["images_per_s"], made["none"]["images_per_s"]])
            setup.append([made[mode]["speed"]["setup_seconds"] for mode in ("all", "none")])
    ratio = median(a / b for a, b in speeds)
    cold, warm = setup[0][0] - setup[0][1], median(a - b for a, b in setup[1:])
    saved = (1 - 1 / ratio) / median(b for _, b in speeds)  # seconds an image
    return {
        "images_per_s": speeds,
        "ratio": round(ratio, 3),
        "compile_seconds": {"cold": round(cold, 1), "warm": round(warm, 1)},
        "pays_after_images": round(cold / saved) if saved > 0 else None,
    }


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, required=True, help="result file, added to")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    result = read_result(arguments.result)
    figures = result.setdefault("figures", {})
    for pair, models in {**CIFAR_PAIRS, **LARGE_PAIR}.items():
        for arithmetic, options in PRECISIONS.items():
            if (name := f"{pair}{arithmetic}") in figures:
                continue
            result["environment"] = environment()
            figures[name] = measure([*models, *options], arguments.turns)
            print(name, figures[name]["ratio"], figures[name]["pays_after_images"], flush=True)
            write_result(arguments.result, result)


if __name__ == "__main__":
    main()
