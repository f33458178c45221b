"""The folder that `stkd probe` writes: weights of a model with a fitted head, and what it was fitted on."""

from __future__ import annotations

import json
from pathlib import Path

from ..core import manifest
from ..core.config import TrainConfig, build
from ..core.errors import StkdError
from ..core.options import checked

__all__ = ["RECORD", "is_probe", "probe_command", "read_probe"]

RECORD = "probe.json"


def is_probe(folder: Path) -> bool:
    """Whether a folder is one that `stkd probe` wrote."""
    return (folder / RECORD).is_file() and not (folder / "config.yaml").is_file()


def read_probe(folder: Path) -> TrainConfig:
    """The options of the data that a probe was fitted on; those of training mean nothing.

    Raises:
        StkdError: Its record is damaged.
    """
    try:
        record = json.loads(manifest.read(folder / RECORD))
        options = {"data": record["data"], **record.get("options", {})}  # earlier versions wrote the data alone
        named = {"model": record["model"], "out": folder}
        return build(TrainConfig, checked(TrainConfig, {**options, **named}))
    except (OSError, ValueError, TypeError, KeyError, StkdError):
        raise StkdError(f"{folder / RECORD} is damaged; run 'stkd probe' again") from None


def probe_command(config: TrainConfig) -> str:
    """The command that fits a probe of the model that a training starts from, in quotes."""
    start = "--teacher-pretrained true" if config.pretrained else f"--teacher-weights {config.weights}"
    size = f" --image-size {config.image_size}" if config.image_size is not None else ""
    return f"'stkd probe --data {config.data}{size} --teacher {config.model} {start} --out DIR'"
