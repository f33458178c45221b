"""What there is to measure on one GPU, in parts of at most ten minutes each.

    python benchmarks/gpu.py methods|graph|speed|protocol --data cifar100:PATH --work DIR --result results/gpu.json

methods   a short run of every method: whether it ends, with a finite loss, and how fast
graph     a recorded step (--cuda-graph) beside a plain one: the same weights? how fast?
speed     `stkd bench` of the usual pairs: images/s beside a bare loop, memory, arithmetic per second
protocol  the CRD benchmark's 240 epochs on resnet32x4 -> resnet8x4, KD and STKD, several seeds of one teacher pass

Each part adds its findings to the result file. --tiny makes all of it small, for a machine without a GPU (digits stand
in for CIFAR-100). `bash benchmarks/gpu.sh` runs the tests and then everything.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from common import CIFAR_PAIRS, LARGE_PAIR, bench, read_result, write_result
from safetensors.torch import load_file
from study import Unit, make, teacher_entry

import stkd
from stkd import models
from stkd.core.errors import StkdError
from stkd.evaluation import macs
from stkd.methods import methods
from stkd.runs.environment import environment

SEEDS = 3
PAIR = ("resnet32x4", "resnet8x4")
CRD: dict[str, Any] = {"schedule": "multistep", "milestones": (150, 180, 210), "lr": 0.05}


class Sizes:
    """What a part works on: CIFAR-100, or with `tiny` digits and the smallest networks."""

    def __init__(self, data: str, tiny: bool) -> None:
        self.data, self.tiny = ("digits" if tiny else data), tiny
        self.teacher, self.student = ("cnn4", "cnn2") if tiny else PAIR
        self.images, self.epochs = (128, 2) if tiny else (12_800, 2)
        self.protocol = {"epochs": 4, "milestones": (2, 3, 3.5)} if tiny else {"epochs": 240}

    def trained(self, work: Path, epochs: int) -> Path:
        """Run directory of a teacher, trained here."""
        options = {"train_images": 512} if self.tiny else {}
        stkd.train(self.teacher, self.data, out=work / "teacher", epochs=epochs, eval_every=epochs, **options)
        return work / "teacher"


def every_method(sizes: Sizes, work: Path) -> dict[str, Any]:
    """A short run of each method."""
    teacher, found = sizes.trained(work, 2), {}
    for name in sorted(methods):
        if name in ("dml", "mixup"):  # they have no teacher
            continue
        options: dict[str, Any] = {"epochs": sizes.epochs, "train_images": sizes.images, "preflight": "off"}
        if name == "crd":
            options |= {"method": "crd:negatives=64"} if sizes.tiny else {}
        method = options.pop("method", name)
        try:
            run = stkd.distill(str(teacher), sizes.student, sizes.data, method, out=work / name, **options)
            found[name] = {**_rate(run), "train_accuracy": run.scores["train_accuracy"]}
        except StkdError as error:
            found[name] = {"error": str(error)}
    return found


def _rate(run: stkd.Result) -> dict[str, float]:
    seconds = run.scores["seconds"]
    return {"seconds": round(seconds, 2), "images_per_s": round(run.scores["images_seen"] / seconds, 1)}


def recorded(sizes: Sizes, work: Path) -> dict[str, Any]:
    """Recorded and plain steps: how far apart the weights are, and the images/s of both."""
    if not torch.cuda.is_available():
        return {"not run": "there is no CUDA device"}
    teacher, runs = sizes.trained(work, 2), {}
    for name, graph in (("plain", False), ("recorded", True)):
        options: dict[str, Any] = {"epochs": 2, "train_images": sizes.images, "cuda_graph": graph, "compile": "none"}
        runs[name] = stkd.distill(str(teacher), sizes.student, sizes.data, out=work / name, **options)
    plain, graph = (load_file(run.weights) for run in runs.values())
    apart = max(float((plain[k].double() - graph[k].double()).abs().max()) for k in plain)
    return {"largest_difference": apart, "images_per_s": {n: _rate(r)["images_per_s"] for n, r in runs.items()}}


def speed(sizes: Sizes, work: Path) -> dict[str, Any]:
    """`stkd bench` of each pair, with the floating-point operations a second of its step."""
    pairs = {"cnn4 -> cnn2": ["--teacher", "cnn4", "--student", "cnn2", "--image-size", "8"]} if sizes.tiny else {}
    found = {}
    for name, arguments in (pairs or {**CIFAR_PAIRS, **LARGE_PAIR}).items():
        short = ["--pairs", "1", "--seconds", "0.2", "--compile", "none"] if sizes.tiny else ["--pairs", "3"]
        result = bench(*arguments, *short)
        size = int(arguments[arguments.index("--image-size") + 1]) if "--image-size" in arguments else 32
        options: dict[str, Any] = {"num_classes": 100, "in_channels": 3, "image_size": size}
        names = (arguments[arguments.index(f"--{who}") + 1] for who in ("teacher", "student"))
        teacher, student = (macs(models.create(own, **options), 3, size) for own in names)
        # a pass is two operations a multiplication; a step backward costs as much as two forward
        found[name] = {**result, "tera_operations_per_s": result["images_per_s"] * 2 * (teacher + 3 * student) / 1e12}
    return found


def protocol(sizes: Sizes, work: Path, result: Path) -> dict[str, Any]:
    """KD and STKD by the CRD benchmark's protocol; units that a result file holds are not made again."""
    teacher = sizes.trained(work, 4 if sizes.tiny else 240)
    options = {**CRD, **sizes.protocol, "precision": "auto", "teacher_precision": "auto", "compile": "auto"}
    students = {str(seed): {"student": sizes.student, "seed": seed} for seed in range(SEEDS)}
    units = [Unit(name, students, sizes.data, {**options, "method": name, "data_seed": 0}) for name in ("kd", "stkd")]
    args = argparse.Namespace(work=work, result=result.with_suffix(".protocol.json"), jobs=1, only="")
    made = make(units, teacher, args, {"teacher": teacher_entry(teacher, sizes.data)})
    return {**made, "note": "seeds are initial weights; all see the samples of one data seed"}


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["methods", "graph", "speed", "protocol"])
    parser.add_argument("--data", default="digits", help="cifar100:PATH")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="all of it small, on whatever device there is")
    args = parser.parse_args()
    sizes, work, began = Sizes(args.data, args.tiny), args.work / args.part, time.monotonic()
    if args.part == "protocol":
        found = protocol(sizes, work, args.result)
    else:
        found = {"methods": every_method, "graph": recorded, "speed": speed}[args.part](sizes, work)
    result = {**read_result(args.result), "tiny": args.tiny, "environment": environment()}
    write_result(args.result, {**result, args.part: {"seconds": round(time.monotonic() - began), "found": found}})
    print(f"{args.part}: {time.monotonic() - began:.0f} s; {args.result}")


if __name__ == "__main__":
    main()
