"""The options of a run directory: read, completed, and compared with those of now."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..core.config import DistillConfig, TrainConfig, build
from ..core.errors import StkdError
from ..core.options import checked
from ..teachers.cache import need_header

__all__ = ["check_unchanged", "read_config", "with_cached_epochs"]

# Options that change how fast or how safely a run goes, not what comes of it.
_FREE = {
    "out",
    "workers",
    "checkpoint_epochs",
    "checkpoint_minutes",
    "tensorboard",
    "preflight",
    "preflight_seconds",
    "baseline",
    "skip_bad",
}


def read_config(run: Path) -> TrainConfig | DistillConfig:
    """The options that a run was started with.

    Raises:
        StkdError: It is not a run directory.
    """
    file = run / "config.yaml"
    if not file.is_file():
        raise StkdError(f"{run} is not a run directory: it has no config.yaml")
    try:
        options = yaml.safe_load(file.read_text(encoding="utf-8"))
        if "student" in options:
            return build(DistillConfig, checked(DistillConfig, options))
        return build(TrainConfig, checked(TrainConfig, options))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, StkdError):
        raise StkdError(f"{file} is damaged; give another run") from None


def with_cached_epochs(config: DistillConfig) -> DistillConfig:
    """A config whose `sample_epochs` say how a run that is longer than its cache goes round it.

    Of a finished run they are those that it had: its cache may be gone by now, or longer.

    Raises:
        StkdError: There is no such cache, or it holds fewer epochs than are asked for.
    """
    if config.teacher_cache is None:
        return config
    if (config.out / "result.json").is_file():
        had = config.sample_epochs or read_config(config.out).sample_epochs
        return dataclasses.replace(config, sample_epochs=had)
    held = need_header(config.teacher_cache).epochs
    wanted = min(config.epochs, config.sample_epochs or config.epochs)
    if wanted <= held:
        return config
    if config.sample_epochs is not None:
        raise StkdError(
            f"{config.teacher_cache} holds {held} epochs, --sample-epochs asks for {config.sample_epochs}; "
            f"leave it out to go round the {held}, or lengthen the cache with 'stkd cache'"
        )
    return dataclasses.replace(config, sample_epochs=held)


def check_unchanged(file: Path, now: Mapping[str, Any], *, else_give: str = "another --out") -> None:
    """Refuse options with which what lies in a directory was not made.

    Args:
        file: YAML file of the options that the directory was started with.
        now: Options of now, as YAML has them.
        else_give: What to give instead of the same options.

    Raises:
        StkdError: One differs, or the file cannot be read.
    """
    before = _read(file)
    # an option that the older version did not have yet cannot differ
    differing = [n for n in now if n in before and n not in _FREE and not _same(n, before, now)]
    if differing:
        name = differing[0]
        raise StkdError(
            f"{file.parent} was started with {name}={before[name]}, now {name}={now[name]}; "
            f"give the same options to go on, or {else_give}"
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        options = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        options = None
    if not isinstance(options, dict):
        what = "damaged" if file.exists() else "missing"
        raise StkdError(f"{file} is {what}; give another --out, or delete {file.parent}")
    return options


def _same(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if before[name] == now[name]:
        return True
    if name != "teacher_weights" or None in (before[name], now[name]) or "out" not in before:
        return False
    # where all was moved as a whole, the teacher is still at the same place beside it
    places = {os.path.relpath(options[name], options["out"]) for options in (before, now)}
    return len(places) == 1
