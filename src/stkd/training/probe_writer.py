"""A model with a head that is fitted on the user's images, written to a file of weights like that of a run."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from .. import models
from ..core import manifest
from ..core.config import DataOptions, ProbeConfig, plain_value
from ..core.errors import StkdError
from ..core.fabric import make_fabric
from ..core.plugins import load_plugin
from ..data import DataSet
from ..data.selection import data_of
from ..evaluation import logits_of, scores
from ..models.files import save_model
from ..runs.probe import RECORD
from ..teachers import Ensemble
from ..teachers.selection import live_teacher

__all__ = ["Probed", "run_probe"]


@dataclass(frozen=True)
class Probed:
    """What came of fitting a head.

    Attributes:
        weights: The file with the whole model.
        record: What it was fitted on, the options of the data, and scores on validation and test images, if any.
    """

    weights: Path
    record: dict[str, Any]


def run_probe(config: ProbeConfig, *, data: DataSet | None = None, teacher: nn.Module | None = None) -> Probed:
    """Fit a head as a config says, and write the model; `data` and `teacher` stand in for what it names.

    Raises:
        StkdError: An option or a file is wrong, the model has no linear classifier, or the folder holds something else.
    """
    if config.more_teachers or config.teacher_cache:
        raise StkdError("a probe is of one model; leave out --more-teachers and --teacher-cache")
    _refuse_foreign(config.out)
    if config.plugin is not None:
        load_plugin(config.plugin)
    config = dataclasses.replace(config, teacher_probe=True)
    data = data or data_of(config)
    device = make_fabric(config).device
    live = live_teacher(config, data, device, teacher)
    assert not isinstance(live, Ensemble)
    assert live.head is not None
    record: dict[str, Any] = {"model": live.name, "data": config.data, **live.head.said}
    record["options"] = {field.name: plain_value(getattr(config, field.name)) for field in fields(DataOptions)}
    for name, split in (("val", data.val), ("test", data.test)):
        if split is not None:
            logits, labels = logits_of(live.logits, split, data, device=device, workers=config.workers)
            record[name] = {**scores(logits, labels), "images": len(labels)}
    own, options = live.info.model, live.info.options
    if teacher is None:
        own, options = models.recorded_name(own, options)
    config.out.mkdir(parents=True, exist_ok=True)
    file = config.out / "model.safetensors"
    info = dataclasses.replace(live.info, model=own, options=options)
    save_model(live.module, file, info, write=manifest.write)
    manifest.write(config.out / RECORD, json.dumps(record, indent=1))
    return Probed(file, record)


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StkdError(f"{folder} is a file; give --out a directory")
    if not ((folder / RECORD).exists() or manifest.unused(folder)):
        raise StkdError(f"{folder} is not empty and holds no probe; give --out a new directory")
