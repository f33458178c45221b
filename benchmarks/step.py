"""How fast the training step is: pairs of models beside a bare loop, STKD beside KD, a whole run beside its loop.

python benchmarks/step.py --result results/speed.json

Weights and images are random. Every figure is a ratio of runs in turn on this machine. What the result file holds
already is not measured again, so that the command goes on where it was stopped; delete the file to start over.
Int8 teachers need `pip install 'stkd[openvino]'`. On two idle cores it takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import stkd
from stkd import models
from stkd.core.files import write_atomic
from stkd.runs.environment import environment
from stkd.studies.bench.bare import bare_step
from stkd.studies.bench.noise import random_data

CIFAR = {
    "resnet56 -> resnet20": ["--teacher", "resnet56", "--student", "resnet20"],
    "resnet32x4 -> resnet8x4": ["--teacher", "resnet32x4", "--student", "resnet8x4"],
    "wrn_40_2 -> wrn_16_2": ["--teacher", "wrn_40_2", "--student", "wrn_16_2"],
}
LARGE = ["--teacher", "timm/resnet50", "--student", "timm/mobilenetv3_small_100"]
LARGE += ["--image-size", "224", "--batch-size", "32", "--seconds", "1"]


def benches() -> dict[str, list[str]]:
    """Arguments of `stkd bench` by the name of their figure."""
    found = {f"{pair}, stkd, bf16": arguments for pair, arguments in CIFAR.items()}
    found |= {f"{pair}, stkd, int8 teacher": [*a, "--teacher-precision", "int8"] for pair, a in CIFAR.items()}
    found["resnet50 -> mobilenetv3_small_100 at 224, stkd, bf16"] = LARGE
    return found


def bench(arguments: list[str]) -> dict[str, Any]:
    """One `stkd bench`, in a process of its own."""
    command = [sys.executable, "-m", "stkd", "bench", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    del found["environment"]
    return found


def methods(pairs: int = 5) -> dict[str, Any]:
    """STKD beside KD, in turn and each first in every other turn."""
    arguments = [*CIFAR["resnet56 -> resnet20"], "--pairs", "1", "--seconds", "4"]
    rates = []
    for turn in range(pairs):
        order = ("kd", "stkd") if turn % 2 else ("stkd", "kd")
        found = {method: bench([*arguments, "--method", method])["images_per_s"] for method in order}
        rates.append([found["kd"], found["stkd"]])
    return {"pairs": rates, "ratio": round(median(stkd / kd for kd, stkd in rates), 3)}


def whole_run(pairs: int = 5, images: int = 2048) -> dict[str, Any]:
    """`stkd.distill` with its metrics and checkpoints, beside a hand-written loop in bf16 with channels last.

    Neither compiles anything, since both would compile the same.
    """
    data = random_data(images, 32, 100)
    options: dict[str, Any] = {"num_classes": 100, "in_channels": 3, "image_size": 32}
    teacher, student = models.create("resnet56", **options), models.create("resnet20", **options)
    pixels = torch.from_numpy(data.train.images.copy()).float() / 127.5 - 1
    step = bare_step(teacher, student, pixels, torch.from_numpy(data.train.labels), 64, bf16=True)
    step()
    rates = []
    for _ in range(pairs):
        began = time.perf_counter()
        for _ in range(images // 64):
            step()
        by_hand = images / (time.perf_counter() - began)
        with TemporaryDirectory() as folder:
            run = stkd.distill(
                models.create("resnet56", **options),
                models.create("resnet20", **options),
                data,
                "kd",
                out=Path(folder) / "run",
                epochs=1,
                precision="bf16",
                compile="none",
            )
        rates.append([by_hand, run.scores["images_seen"] / run.scores["seconds"]])
    return {"pairs": rates, "ratio": round(median(ours / by_hand for by_hand, ours in rates), 3)}


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, required=True, help="result file, added to")
    parser.add_argument("--only", default="", help="figures whose name contains this")
    arguments = parser.parse_args()
    result = json.loads(arguments.result.read_text()) if arguments.result.exists() else {"figures": {}}
    figures: dict[str, Any] = result["figures"]
    jobs: dict[str, Any] = {name: (bench, options) for name, options in benches().items()}
    jobs["stkd beside kd, resnet56 -> resnet20, bf16"] = (methods,)
    jobs["whole run of kd, resnet56 -> resnet20, bf16, not compiled"] = (whole_run,)
    for name, (measure, *options) in jobs.items():
        if name in figures or arguments.only not in name:
            continue
        result["environment"] = environment()
        figures[name] = {**measure(*options), "git": result["environment"]["git"]}
        print(f"{name}: {figures[name]['ratio']}")
        write_atomic(arguments.result, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
