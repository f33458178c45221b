"""How far trained teachers in bf16 and int8 differ from float32, and whether `auto` takes int8.

    python benchmarks/int8_teachers.py --run RUN --run RUN --result results/int8_teachers.json

RUN is a run directory of `stkd train`. The check is the one that `stkd distill --teacher-precision auto` makes in long
runs, on training images; accuracy and agreement are those of the test split (full batches of 64). Needs
`pip install 'stkd[openvino]'`; about a minute a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
from common import write_result
from torch import Tensor

from stkd.core.config import DistillConfig
from stkd.data.loader import eval_batches
from stkd.evaluation.predictions import scores
from stkd.runs.directory import read_result
from stkd.runs.environment import environment
from stkd.runs.options import read_config
from stkd.teachers import LiveTeacher
from stkd.teachers.openvino import Engine
from stkd.training.session import Job, Session, open_session

BATCH = 64


@torch.no_grad()
def measure(run: Path) -> dict[str, Any]:
    """Scores of one teacher in float32, bf16 and int8, and what its check says."""
    trained = read_config(run)
    config = DistillConfig(
        data=trained.data,
        out=Path(gettempdir()) / "unused",
        student="resnet8",
        teacher_weights=run,
        teacher_precision="int8",
        accelerator="cpu",
    )
    with open_session([Job.of(config)], students=False) as session:
        session.choose_engines()
        return scores_of(session, config, run)


def scores_of(session: Session, config: DistillConfig, run: Path) -> dict[str, Any]:
    """The scores, once data and teacher are open."""
    data, loader, teacher, trained = session.data, session.loader, session.teacher, read_config(run)
    assert data.test is not None
    assert isinstance(teacher, LiveTeacher)
    device = session.fabric.device
    batches = [b for b in eval_batches(data.test, data, batch_size=BATCH, device=device) if len(b[0]) == BATCH]
    labels = torch.cat([own for _, own in batches])
    images = [teacher.preprocess(own) for own, _ in batches]

    def logits(model: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([model(own) for own in images])

    exact, kept = logits(teacher.module.eval()), ("top1", "nll", "agreement")
    calibration = [
        teacher.preprocess(batch.images) for batch, _ in zip(loader.epoch(config.epochs), range(8), strict=False)
    ]
    engines = {name: Engine(teacher.module, name, calibration) for name in ("bf16", "int8")}  # type: ignore[arg-type]
    scored = {name: scores(logits(engine), labels, exact) for name, engine in engines.items()}
    result = read_result(run)
    assert result is not None
    return {
        "model": teacher.info.model,
        "data": data.name,
        "trained": {"epochs": result["epochs"], "images_seen": result["images_seen"], "seed": trained.seed},
        "check": teacher.record,
        "test_images": len(labels),
        "float32": {name: scores(exact, labels, exact)[name] for name in kept},
        **{name: {key: values[key] for key in kept} for name, values in scored.items()},
    }


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    teachers = [measure(run) for run in arguments.run]
    write_result(arguments.result, {"teachers": teachers, "environment": environment()})
    for teacher in teachers:
        print(teacher["model"], teacher["data"], teacher["check"])


if __name__ == "__main__":
    main()
