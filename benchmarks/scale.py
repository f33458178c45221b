"""The arithmetic of docs/scale.md: what ImageNet-1k and 100 million images take, from figures of single devices.

    python benchmarks/scale.py --result results/scale.json

Half a minute; nothing is trained. Rates come from results/speed_amx.json, results/gpu.json and results/loader.json,
sizes from the code itself: models, cached logits, and the tables of an epoch, whose memory is measured for a million
images.
"""

from __future__ import annotations

import argparse
import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import RESULTS, write_result

from stkd import models
from stkd.data.plan import plan_epoch
from stkd.evaluation.cost import macs, parameters
from stkd.mixing import Mix
from stkd.runs.environment import environment
from stkd.teachers.cache import Header

TEACHER, STUDENT, SIZE = "timm/resnet34", "timm/resnet18", 224
DEVICES = (8, 64)
ROWS = 256  # of a batch that each device has
NETWORKS = {"10 Gbit/s": 10e9, "100 Gbit/s": 100e9}
WORKERS = 2  # decoding processes of each device
ASSUMED = 1000  # images/s, of a fast device: to read off what another one takes


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    Attributes:
        images: Of the training set.
        epochs: Passes over them.
        file_bytes: Of an image, on average.
    """

    images: int
    epochs: int
    file_bytes: int = 110_000


PLANS = {"ImageNet-1k": Plan(1_281_167, 100), "100 million images": Plan(100_000_000, 10)}


def rates() -> dict[str, float]:
    """Operations per second of training steps by kind of device: the median of the pairs in a result file."""
    result = json.loads((RESULTS / "speed_amx.json").read_text())
    steps = [figure["flops"]["achieved"] for figure in result["figures"].values() if "flops" in figure]
    cpu = f"{result['environment']['cpu']}, {result['environment']['threads']} threads"
    found = {f"{cpu} (speed_amx.json)": sorted(steps)[len(steps) // 2]}
    gpu = RESULTS / "gpu.json"
    if gpu.exists():
        result = json.loads(gpu.read_text())
        steps = [1e12 * figure["tera_operations_per_s"] for figure in result["speed"]["found"].values()]
        found[f"{result['environment']['gpu']} (gpu.json)"] = sorted(steps)[len(steps) // 2]
    return found


def memory_of(make: Callable[[], object]) -> int:
    """Bytes that something takes once it is made."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = make()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return after - before


def file_names(count: int) -> tuple[str, ...]:
    """Names as ImageNet has them."""
    return tuple(f"n{i % 1000:08d}/n{i % 1000:08d}_{i:08d}.JPEG" for i in range(count))


def cached(plan: Plan, top_k: int | None) -> int:
    """Bytes of a teacher's cached logits of 1,000 classes for one epoch."""
    classes = tuple(str(i) for i in range(1000))
    steps = -(-plan.images // ROWS)
    header = Header(
        samples={}, teacher="", teacher_name="", precision="", classes=classes, steps=steps, rows=ROWS, epochs=1,
        top_k=top_k, dtype="fp16",
    )  # fmt: skip
    return header.nbytes


def decoded_per_row(devices: int) -> float:
    """Images that a process decodes for each of its rows of two instances: its own, and partners that are no own."""
    return 2 - 1 / devices


def network(weights: int, step_seconds: float, devices: int) -> dict[str, Any]:
    """What goes over the network in a step, by and to each device, and what that takes without overlap."""
    share = (devices - 1) / devices
    gradients = round(2 * share * 4 * weights)  # a ring: reduced, then gathered
    logits = round(2 * share * 4 * ROWS * devices * 1000)  # of student and teacher
    seconds = {name: 8 * (gradients + logits) / bits for name, bits in NETWORKS.items()}
    return {
        "gradient_bytes": gradients,
        "logit_bytes": logits,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "share_of_step": {name: round(value / (value + step_seconds), 3) for name, value in seconds.items()},
    }


def planned(plan: Plan, images_per_s: float, per_core: float, bytes_of: dict[str, float]) -> dict[str, Any]:
    """Time, cores and bytes of a plan on one kind of device."""
    seen = plan.images * plan.epochs
    tables = plan.images * bytes_of["table"]
    names = plan.images * (bytes_of["name"] + 8)  # and a label
    return {
        **asdict(plan),
        "device_days": round(seen / images_per_s / 86_400, 1),
        "cores_per_device": {n: round(images_per_s * decoded_per_row(n) / per_core, 1) for n in (1, *DEVICES)},
        "file_bytes_per_s": {n: round(n * images_per_s * decoded_per_row(n) * plan.file_bytes) for n in (1, *DEVICES)},
        "process_bytes": round(tables + names),
        "machine_bytes": round(8 * (1 + WORKERS) * (tables + names)),
    }


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What is printed."""
    for device, figure in result["devices"].items():
        for name, plan in figure["plans"].items():
            yield f"{device}: {name}: {plan['device_days']:,} device-days"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    student, teacher = (models.create(name, num_classes=1000, image_size=SIZE).eval() for name in (STUDENT, TEACHER))
    weights = parameters(student)
    work = 2 * (macs(teacher, 3, SIZE) + 3 * macs(student, 3, SIZE))
    loader = json.loads((RESULTS / "loader.json").read_text())
    # the rate is of virtual samples, each of two images that are both among the batch: one image a row
    per_core = loader["files"]["images_per_s"]["stkd_mixed"] / loader["options"]["workers"]
    million = 1_000_000
    bytes_of = {
        "table": memory_of(lambda: plan_epoch(million, ROWS, Mix(), seed=0, epoch=0)) / million,
        "name": memory_of(lambda: file_names(million)) / million,
    }
    devices = {}
    for name, rate in {**rates(), "a device of that rate, assumed": ASSUMED * work}.items():
        images_per_s = rate / work
        step = ROWS / images_per_s
        devices[name] = {
            "operations_per_s": rate,
            "images_per_s": round(images_per_s, 1),
            "network": {str(n): network(weights, step, n) for n in DEVICES},
            "plans": {title: planned(plan, images_per_s, per_core, bytes_of) for title, plan in PLANS.items()},
        }
    result = {
        "what": f"arithmetic for {TEACHER} -> {STUDENT} at {SIZE} pixels, from the rates of single devices on networks "
        "of CIFAR's size: operations per second are taken to be the same; nothing here was run on several devices",
        "environment": environment(),
        "pair": {"teacher": TEACHER, "student": STUDENT, "size": SIZE, "weights": weights, "operations": work},
        "assumed": {"rows_per_device": ROWS, "workers_per_device": WORKERS, "devices_per_machine": 8},
        "decoded_per_core_and_s": round(per_core, 1),
        "bytes_per_image": {name: round(value, 1) for name, value in bytes_of.items()},
        "cache_bytes_per_epoch": {
            title: {"all logits": cached(plan, None), "top 16": cached(plan, 16)} for title, plan in PLANS.items()
        },
        "devices": devices,
    }
    write_result(args.result, result)
    print(*lines(result), sep="\n")


if __name__ == "__main__":
    main()
