"""What int8 costs students: float, per tensor, per channel, quantisation-aware distillation; and on other CPUs.

    python benchmarks/int8_students.py --run RUN --qad 10 --emulate Haswell --result results/int8_students.json

RUN is a finished run directory; its file `exports/student.int8.onnx` is not touched, the training of --qad lies in its
`exports/qad-...`. Accuracy and agreement with float are those of all test images. --emulate runs the files per channel
under `qemu-x86_64 -cpu NAME` (Debian: qemu-user), which has to be installed; `8-bit weights` is the form that stkd does
not write, for comparison.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from common import write_result
from onnxruntime.quantization import QDQQuantizer

from stkd.evaluation.predictions import logits_of_all, scores
from stkd.export.accuracy import unnormalised
from stkd.export.captured import Normalised, capture, quiet
from stkd.export.contract import Contract
from stkd.export.exporting import _Calibration
from stkd.export.format import Source
from stkd.export.formats.int8_onnx import Int8Onnx, _answers
from stkd.export.int8.graph import quantised
from stkd.runs.description import describe_data
from stkd.runs.environment import environment
from stkd.runs.finished_run import FinishedRun, open_run
from stkd.runs.options import read_config

_EMULATED = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(None, {"images": numpy.load(sys.argv[2])})[0])
"""


def measure(run: Path, qad: int | None, emulate: list[str]) -> dict[str, Any]:
    """Everything about one run."""
    opened = open_run(run, with_teacher=False)
    model = Normalised(opened.model.float(), opened.info)
    contract = Contract(opened.info, describe_data(read_config(run).data), "")
    source = Source(capture(model, opened.info), contract, _Calibration(opened))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph, ranges = Int8Onnx()._in_float(source, folder / "float.onnx")
        with quiet():
            contents = {
                "float": (folder / "float.onnx").read_bytes(),
                "per tensor": quantised(graph, ranges, per_channel=False).SerializeToString(),
                "per channel": quantised(graph, ranges).SerializeToString(),
            }
        trained = None
        if qad:
            format = Int8Onnx(qad=qad)
            found = format.write(format.prepared(opened, source), folder / "qad.onnx")
            contents["qad"], trained = (folder / "qad.onnx").read_bytes(), found["training"]
        other_cpus = {cpu: emulated(cpu, opened, contents["per channel"], wide(graph, ranges)) for cpu in emulate}
    return {
        "model": opened.info.model,
        "size": opened.info.size,
        "parameters": sum(p.numel() for p in opened.model.parameters()),
        "data": contract.data,
        **scored(opened, model, contents),
        "training": trained,
        "other_cpus": other_cpus,
    }


def scored(opened: FinishedRun, model: Normalised, contents: dict[str, bytes]) -> dict[str, Any]:
    """Accuracy, agreement with float and size of each file, on test images."""
    assert opened.data.test is not None
    answers = {name: _answers(content) for name, content in contents.items()}
    models = {n: (lambda x, run=run: torch.from_numpy(run(x.contiguous().numpy()))) for n, run in answers.items()}
    plain = unnormalised(opened.data)
    logits, labels = logits_of_all({"": model, **models}, opened.data.test, plain, device=torch.device("cpu"))
    files = {}
    for name, content in contents.items():
        own = scores(logits[name], labels, logits[""])
        share = len(content) / len(contents["float"])
        files[name] = {"top1": own["top1"], "agreement": own["agreement"], "bytes": len(content), "share": share}
    return {"test_images": len(labels), "files": files}


def wide(graph: Any, ranges: Any) -> bytes:
    """Per channel with all 8 bits of the weights, as onnxruntime's U8S8 has it."""
    made = QDQQuantizer.__init__

    def all_bits(self: Any, model: Any, per_channel: bool, reduce_range: bool, *rest: Any) -> None:
        made(self, model, per_channel, False, *rest)

    QDQQuantizer.__init__ = all_bits
    try:
        content: bytes = quantised(graph, ranges).SerializeToString()
    finally:
        QDQQuantizer.__init__ = made
    return content


def emulated(cpu: str, opened: FinishedRun, own: bytes, wide: bytes) -> dict[str, Any]:
    """Largest difference of a logit, and equal top-1, between this CPU and an emulated one."""
    images = torch.cat(list(_Calibration(opened)))[:48].numpy()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        file, shown, out = (Path(name) / part for part in ("a.onnx", "x.npy", "y.npy"))
        np.save(shown, images)
        for form, content in (("stkd", own), ("8-bit weights", wide)):
            file.write_bytes(content)
            here = _answers(content)(images)
            python, packages = Path(sys.executable).resolve(), Path(onnxruntime.__file__).parents[1]
            command = ["qemu-x86_64", "-cpu", cpu, str(python), "-c", _EMULATED, str(file), str(shown), str(out)]
            subprocess.run(
                command, env={**os.environ, "PYTHONPATH": str(packages)}, check=True, stderr=subprocess.DEVNULL
            )
            there = np.load(out)
            equal = float((here.argmax(1) == there.argmax(1)).mean())
            found[form] = {"largest_difference": float(np.abs(here - there).max()), "equal_top1": equal}
    return {"images": len(images), **found}


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--qad", type=int)
    parser.add_argument("--emulate", action="append", default=[], metavar="CPU")
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.emulate and shutil.which("qemu-x86_64") is None:
        raise SystemExit("qemu-x86_64 is missing: apt install qemu-user")
    students = [measure(run, arguments.qad, arguments.emulate) for run in arguments.run]
    versions = {"onnxruntime": onnxruntime.__version__}
    write_result(arguments.result, {"students": students, "environment": {**environment(), **versions}})
    for student in students:
        print(student["model"], student["files"], student["other_cpus"])


if __name__ == "__main__":
    main()
