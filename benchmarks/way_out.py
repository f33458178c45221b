"""The whole way of a small model, from a folder of photos to files for other runtimes, on one test split.

    python benchmarks/way_out.py --data FOLDER --teacher hf/LITE2 --student hf/LITE0 --work DIR \\
                                 --result results/way_out.json

FOLDER has the photos, one folder a class; LITE2 and LITE0 are folders with EfficientNet-Lite 2 and 0 and their ImageNet
weights, as timm saves models for the hub. A teacher is fine-tuned, and two students are distilled from it by stkd:
mobilenetv3_small_050 from scratch, and EfficientNet-Lite 0 from its ImageNet weights. Each is exported to every format
that is installed (docs/export.md), and every file answers the whole test split in its own runtime. Finished runs and
files in DIR are used again; about an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import read_result, write_result
from numpy.typing import NDArray
from torch import Tensor

import stkd
from stkd.core.errors import StkdError
from stkd.data.loader import eval_batches
from stkd.export import export_run, open_exported
from stkd.export.accuracy import unnormalised
from stkd.export.captured import Normalised
from stkd.runs.environment import environment
from stkd.runs.finished_run import FinishedRun, open_run

COMMON: dict[str, Any] = {"image_size": 96, "val_fraction": 0.1, "seed": 0, "optimizer": "adamw"}
TEACHER: dict[str, Any] = {"epochs": 10, "lr": 5e-4, "warmup_epochs": 1.0}
STUDENTS: dict[str, dict[str, Any]] = {
    "mobilenetv3": {"epochs": 30, "eval_every": 5, "lr": 2e-3, "weight_decay": 0.05, "warmup_epochs": 3.0},
    "lite0": {"student_pretrained": True, "eval_every": 5, "epochs": 15, "lr": 5e-4, "warmup_epochs": 1.0},
}
FORMATS = ("onnx", "int8-onnx", "openvino", "torch-export", "executorch", "litert", "web")


def trained(data: str, teacher: str, student: str, work: Path) -> dict[str, Path]:
    """The runs, made where they are not there."""
    stkd.train(teacher, data, out=work / "teacher", pretrained=True, **TEACHER, **COMMON)
    names = {"mobilenetv3": "timm/mobilenetv3_small_050", "lite0": student}
    for run, options in STUDENTS.items():
        stkd.distill(str(work / "teacher"), names[run], data, out=work / run, **options, **COMMON)
    return {name: work / name for name in ("teacher", *STUDENTS)}


def batches(opened: FinishedRun) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of the test split in 0..1, and their labels."""
    data = unnormalised(opened.data)
    assert data.test is not None
    yield from eval_batches(data.test, data, batch_size=64, device=torch.device("cpu"))


@torch.no_grad()
def of_torch(opened: FinishedRun) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits of the model itself on the test split, and the labels."""
    model = Normalised(opened.model, opened.info)
    pairs = [(model(images).numpy(), labels.numpy()) for images, labels in batches(opened)]
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def row(logits: NDArray[np.float32], expected: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, and how far a file agrees with its model."""
    top = logits.argmax(1)
    return {
        "top1": float((top == labels).mean()),
        "agreement": float((top == expected.argmax(1)).mean()),
        "largest_difference": float(np.abs(logits - expected).max()),
    }


def exported(run: Path, to: str, **options: Any) -> tuple[Path, dict[str, Any]] | str:
    """A file and what was measured when it was kept, made where it is not there; else why there is none."""
    record = run / "exports" / f"{to}.json"
    try:
        if not record.exists():
            export_run(run, to, force=True, **options)
    except StkdError as error:
        return str(error).replace(str(run), run.name)
    read = json.loads(record.read_text())
    return run / "exports" / read["file"], read


def measured(run: Path, options: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The table of one run: the model itself and each of its files."""
    opened = open_run(run)
    expected, labels = of_torch(opened)
    weights = next(run.glob("*.safetensors"))
    parameters = sum(p.numel() for p in opened.model.parameters())
    rows: dict[str, Any] = {"PyTorch": {**row(expected, expected, labels), "bytes": weights.stat().st_size}}
    for to in FORMATS:
        made = exported(run, to, **options.get(to, {}))
        if isinstance(made, str):
            rows[to] = {"not made": made}
            continue
        file, record = made
        answer = open_exported(file)
        logits = np.concatenate([answer.run(images.contiguous().numpy()) for images, _ in batches(opened)])
        timing = {size: record["timing"][size] for size in ("1", "64") if size in record["timing"]}
        rows[to] = {
            **row(logits, expected, labels),
            "bytes": record.get("sizes", {}).get("model", record["bytes"]),  # of a page without its runtime
            "runtime": record["runtime"],
            "threads": record["timing"]["threads"],
            "milliseconds": {size: {who: of["median_ms"] for who, of in by.items()} for size, by in timing.items()},
        }
    return {"model": opened.info.model, "parameters": parameters, "test_images": len(labels), "files": rows}


def main() -> None:
    """Train, export, measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="hf/FOLDER of EfficientNet-Lite 2")
    parser.add_argument("--student", required=True, help="hf/FOLDER of EfficientNet-Lite 0")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--runtime", type=Path, help="folder of the npm package onnxruntime-web")
    args = parser.parse_args()
    runs = trained(f"folder:{args.data}", args.teacher, args.student, args.work)
    options: dict[str, dict[str, Any]] = {"web": {"runtime": args.runtime}} if args.runtime else {}
    result = read_result(args.result)
    result["teacher"] = read_result(runs.pop("teacher") / "result.json")["test"]
    result |= {name: measured(run, options) for name, run in runs.items()}
    result["training"] = {"common": COMMON, "teacher": TEACHER, "students": STUDENTS, "method": "stkd"}
    result["environment"] = environment()
    result["command"] = (
        "python benchmarks/way_out.py --data FOLDER --teacher hf/LITE2 --student hf/LITE0 --work DIR "
        "--result results/way_out.json"
    )
    write_result(args.result, result)


if __name__ == "__main__":
    main()
