"""How fast the training step is: pairs of models beside a bare loop, STKD beside KD, a whole run beside its loop.

python benchmarks/step.py --result results/speed.json

Weights and images are random. Every figure is a ratio of runs in turn on this machine. Figures that the
result file holds are not measured again, so the command goes on where it was stopped; delete the file to start over.
Int8 teachers need `pip install 'stkd[openvino]'`. On two idle cores it takes about ten minutes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import CIFAR_PAIRS, LARGE_PAIR, bench, read_result, write_result

import stkd
from stkd import models
from stkd.runs.environment import environment
from stkd.studies.bench.bare import bare_step
from stkd.studies.bench.random_data import random_data


def benches() -> dict[str, list[str]]:
    """Arguments of `stkd bench` by the name of their figure."""
    figures = {f"{pair}, stkd, bf16": arguments for pair, arguments in CIFAR_PAIRS.items()}
    figures |= {f"{pair}, stkd, int8 teacher": [*a, "--teacher-precision", "int8"] for pair, a in CIFAR_PAIRS.items()}
    figures |= {f"{pair}, stkd, bf16": [*arguments, "--seconds", "1"] for pair, arguments in LARGE_PAIR.items()}
    return figures


def methods(pairs: int = 5) -> dict[str, Any]:
    """STKD beside KD, in turn and each first in every other turn."""
    arguments = [*CIFAR_PAIRS["resnet56 -> resnet20"], "--pairs", "1", "--seconds", "4"]
    rates = []
    for turn in range(pairs):
        order = ("kd", "stkd") if turn % 2 else ("stkd", "kd")
        rate = {method: bench(*arguments, "--method", method)["images_per_s"] for method in order}
        rates.append([rate["kd"], rate["stkd"]])
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
    result = read_result(arguments.result)
    figures: dict[str, Any] = result.setdefault("figures", {})
    jobs: dict[str, Any] = {name: (bench, *options) for name, options in benches().items()}
    jobs["stkd beside kd, resnet56 -> resnet20, bf16"] = (methods,)
    jobs["whole run of kd, resnet56 -> resnet20, bf16, not compiled"] = (whole_run,)
    for name, (measure, *options) in jobs.items():
        if name in figures or arguments.only not in name:
            continue
        result["environment"] = environment()
        figures[name] = {**measure(*options), "git": result["environment"]["git"]}
        print(f"{name}: {figures[name]['ratio']}")
        write_result(arguments.result, result)


if __name__ == "__main__":
    main()
