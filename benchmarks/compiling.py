"""Whether compiling pays on this machine: steps compiled and uncompiled in turn, and what compiling takes.

    python benchmarks/compiling.py --result results/compiling.json

`stkd bench` in processes of their own, with random weights and images. How long a run must be for compiling to win back
its own time follows from the seconds before the first step and the difference of the speeds. About fifteen minutes on
two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from stkd.core.files import write_atomic
from stkd.runs.environment import environment

PAIRS = {
    "resnet56 -> resnet20": ["resnet56", "resnet20"],
    "resnet32x4 -> resnet8x4": ["resnet32x4", "resnet8x4"],
    "wrn_40_2 -> wrn_16_2": ["wrn_40_2", "wrn_16_2"],
    "resnet50 -> mobilenetv3_small_100 at 224": ["timm/resnet50", "timm/mobilenetv3_small_100"],
}
LARGE = ["--image-size", "224", "--batch-size", "32"]


def bench(pair: list[str], options: list[str], cache: str) -> dict[str, Any]:
    """One `stkd bench`; what is compiled is kept in a folder."""
    models = ["--teacher", pair[0], "--student", pair[1], *(LARGE if pair[0].startswith("timm/") else [])]
    command = [sys.executable, "-m", "stkd", "bench", *models, *options, "--pairs", "1", "--seconds", "4", "--json"]
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "STKD_CACHE": cache}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(pair: list[str], options: list[str], turns: int) -> dict[str, Any]:
    """Speeds with and without compiling by turn, and the seconds before the first step."""
    speeds, setup = [], []
    with TemporaryDirectory() as cache:
        for turn in range(turns):
            order = ("none", "all") if turn % 2 else ("all", "none")
            found = {mode: bench(pair, [*options, "--compile", mode], cache) for mode in order}
            speeds.append([found["all"]["images_per_s"], found["none"]["images_per_s"]])
            setup.append([found[mode]["speed"]["setup_seconds"] for mode in ("all", "none")])
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
    result = json.loads(arguments.result.read_text()) if arguments.result.exists() else {"figures": {}}
    kinds = {"": [], ", float32": ["--precision", "32", "--teacher-precision", "32"]}
    for name, pair in PAIRS.items():
        for kind, options in kinds.items():
            if (figure := f"{name}{kind}") in result["figures"]:
                continue
            result["environment"] = environment()
            result["figures"][figure] = found = measure(pair, options, arguments.turns)
            print(figure, found["ratio"], found["pays_after_images"], flush=True)
            write_atomic(arguments.result, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
