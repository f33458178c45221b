"""How fast the training step is: pairs of models beside a bare loop, STKD beside KD, a whole run beside its loop.

    python benchmarks/step.py

It writes results/speed_amx.json on a CPU with AMX, results/speed_bf16.json on one with AVX512-BF16 alone, and
results/speed_avx2.json on one without bf16 instructions, or on any that is limited to AVX2 by
`ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 TORCHINDUCTOR_CACHE_DIR=DIR` (a folder of its own). Each pair is
measured as a long run would choose its engines, exactly (all in float32), and with an int8 teacher. Weights and images
are random. Every figure is a ratio of runs in turn on this machine. Figures that the result file holds are not measured
again, so the command goes on where it was stopped; delete the file to start over. Int8 teachers need
`pip install 'stkd[openvino]'`. On two idle cores it takes about half an hour.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import CIFAR_PAIRS, LARGE_PAIR, PHOTO_PAIRS, RESULTS, bench, read_result, write_result

import stkd
from stkd import models
from stkd.core.devices import fast_bfloat16
from stkd.runs.environment import environment
from stkd.studies.bench.bare import bare_step
from stkd.studies.bench.random_data import random_data

LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that keep PyTorch and OpenVINO from instructions that the CPU has."""


def kind_of_cpu() -> str:
    """amx, bf16 or avx2."""
    if not fast_bfloat16(torch.device("cpu")):
        return "avx2"
    return "amx" if torch.cpu.get_capabilities().get("amx_bf16") else "bf16"


def benches() -> dict[str, list[str]]:
    """Arguments of `stkd bench` by the name of their figure."""
    ways = {
        "as chosen": [],
        "float32": ["--precision", "32"],
        "int8 teacher": ["--teacher-precision", "int8"],
    }
    pairs = CIFAR_PAIRS | PHOTO_PAIRS
    figures = {f"{pair}, stkd, {way}": [*pairs[pair], *options] for pair in pairs for way, options in ways.items()}
    figures |= {f"{pair}, stkd, as chosen": [*arguments, "--seconds", "1"] for pair, arguments in LARGE_PAIR.items()}
    return figures


def methods(pairs: int = 5) -> dict[str, Any]:
    """STKD beside KD, in turn and each first in every other turn."""
    plain = ["--precision", "32", "--teacher-precision", "32", "--compile", "none"]
    arguments = [*CIFAR_PAIRS["resnet56 -> resnet20"], *plain, "--pairs", "1", "--seconds", "4"]
    rates = []
    for turn in range(pairs):
        order = ("kd", "stkd") if turn % 2 else ("stkd", "kd")
        rate = {method: bench(*arguments, "--method", method)["images_per_s"] for method in order}
        rates.append([rate["kd"], rate["stkd"]])
    return {"pairs": rates, "ratio": round(median(stkd / kd for kd, stkd in rates), 3)}


def whole_run(*, bf16: bool, pairs: int = 5, images: int = 2048) -> dict[str, Any]:
    """`stkd.distill` with its metrics and checkpoints, beside a hand-written loop: float32, or bf16 with channels last.

    Neither compiles anything, since both would compile the same.
    """
    data = random_data(images, 32, 100)
    options: dict[str, Any] = {"num_classes": 100, "in_channels": 3, "image_size": 32}
    teacher, student = models.create("resnet56", **options), models.create("resnet20", **options)
    pixels = torch.from_numpy(data.train.images.copy()).float() / 127.5 - 1
    step = bare_step(teacher, student, pixels, torch.from_numpy(data.train.labels), 64, bf16=bf16)
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
                preflight="off",  # its weights are random
                precision="bf16" if bf16 else "32",
                compile="none",
            )
        rates.append([by_hand, run.scores["images_seen"] / run.scores["seconds"]])
    return {"pairs": rates, "ratio": round(median(ours / by_hand for by_hand, ours in rates), 3)}


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, help="result file, added to")
    parser.add_argument("--only", default="", help="figures whose name contains this")
    arguments = parser.parse_args()
    cpu = kind_of_cpu()
    bf16 = cpu != "avx2"
    file = arguments.result or RESULTS / f"speed_{cpu}.json"
    result = read_result(file)
    figures: dict[str, Any] = result.setdefault("figures", {})
    jobs: dict[str, Any] = {name: (bench, *options) for name, options in benches().items()}
    jobs["stkd beside kd, resnet56 -> resnet20, float32"] = (methods,)
    kind = "bf16" if bf16 else "float32"
    jobs[f"whole run of kd, resnet56 -> resnet20, {kind}, not compiled"] = (partial(whole_run, bf16=bf16),)
    for name, (measure, *options) in jobs.items():
        if name in figures or arguments.only not in name:
            continue
        result["environment"] = environment()
        result["limits"] = {name: os.environ[name] for name in LIMITS if name in os.environ}
        figures[name] = {**measure(*options), "git": result["environment"]["git"]}
        print(f"{name}: {figures[name]['ratio']}")
        write_result(file, result)


if __name__ == "__main__":
    main()
