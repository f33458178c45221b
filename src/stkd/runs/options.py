"""The options of a run directory: read, completed, and compared with those of now."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..core import manifest
from ..core.config import DistillConfig, RunConfig, TrainConfig, build, completed, fine_tuning
from ..core.errors import StkdError
from ..core.options import checked
from ..core.plain_yaml import read_yaml
from ..teachers.cache import need_header

__all__ = ["as_begun", "check_unchanged", "read_config", "read_options", "with_cached_epochs"]

C = TypeVar("C", bound=RunConfig)

# Options that change how fast or how safely a run goes, not what comes of it.
_FREE = {
    "out",
    "workers",
    "devices",
    "strategy",
    "checkpoint_epochs",
    "checkpoint_minutes",
    "tensorboard",
    "data_changed",
    "preflight",
    "preflight_seconds",
    "baseline",
    "skip_bad",
    # these change its last digits, which is said and recorded
    "compile",
    "teacher_engine",
}


_DEFAULTS = {
    field.name: field.default
    for config in (TrainConfig, DistillConfig)
    for field in dataclasses.fields(config)
    if field.default is not dataclasses.MISSING
}


def read_config(run: Path) -> TrainConfig | DistillConfig:
    """The options that a run was started with.

    Raises:
        StkdError: It is not a run directory, or they are damaged.
    """
    file = run / "config.yaml"
    if not file.is_file():
        raise StkdError(f"{run} is not a run directory: it has no config.yaml")
    manifest.check(file)
    try:
        options = completed(read_yaml(file))
        if "student" in options:
            return build(DistillConfig, checked(DistillConfig, options))
        return build(TrainConfig, checked(TrainConfig, options))
    except (yaml.YAMLError, TypeError, StkdError):
        raise StkdError(f"{file} is damaged; give another run") from None


def with_cached_epochs(config: DistillConfig) -> DistillConfig:
    """A config whose `sample_epochs` say how a run that is longer than its cache goes round it.

    Of a finished run they are those that it had: its cache may be gone by now, or longer. A run that is lengthened goes
    round as it did.

    Raises:
        StkdError: There is no such cache, or it holds fewer epochs than are asked for.
    """
    if (cache := config.teacher_cache) is None:
        return config
    if (config.out / "result.json").is_file():
        before = read_config(config.out)
        config = dataclasses.replace(config, sample_epochs=config.sample_epochs or before.sample_epochs)
        if config.epochs <= before.epochs:
            return config
    held = need_header(cache).epochs
    wanted = min(config.epochs, config.sample_epochs or config.epochs)
    if wanted <= held:
        return config
    if config.sample_epochs is not None:
        raise StkdError(
            f"{config.teacher_cache} holds {held} epochs, --sample-epochs asks for {config.sample_epochs}; "
            f"leave it out to go round the {held}, or lengthen the cache with 'stkd cache'"
        )
    return dataclasses.replace(config, sample_epochs=held)


def as_begun(config: C, file: Path) -> C:
    """A config for going on with a run, with what the version that began it did before there was an option for it.

    Args:
        config: Options of now.
        file: YAML file of the options that the run was started with.
    """
    before = read_options(file)
    earlier = {n: v for n, v in completed(before).items() if n not in before}
    if "layer_decay" not in before:  # of that version on, models that start trained have defaults of their own
        starts = {n: v for n, v in vars(config).items() if n.endswith(("pretrained", "weights"))}
        usual = fine_tuning(type(config), starts)
        if all(getattr(config, n) == usual[n] for n in ("optimizer", "lr") if usual):
            earlier |= {n: before[n] for n, value in usual.items() if n in before and getattr(config, n) == value}
    return dataclasses.replace(config, **earlier)


def check_unchanged(
    file: Path, now: Mapping[str, Any], *, else_give: str = "another --out", longer: bool = False
) -> None:
    """Refuse options with which what lies in a directory was not made.

    Args:
        file: YAML file of the options that the directory was started with.
        now: Options of now, as YAML has them.
        else_give: What to give instead of the same options.
        longer: Whether more epochs than before are the same run, lengthened.

    Raises:
        StkdError: One differs, or the file cannot be read.
    """
    before = read_options(file)
    if longer:
        before = _lengthened(before, now)
    before = {**_DEFAULTS, **completed(before)}  # an older version did without the options that it does not name
    differing = [n for n in now if n in before and n not in _FREE and not _same(n, before, now)]
    if differing:
        name = differing[0]
        same = "give the same options to go on"
        if longer and name == "epochs":
            same = f"a run can be lengthened, not shortened: give --epochs {before[name]} or more"
        raise StkdError(
            f"{file.parent} was started with {name}={before[name]}, now {name}={now[name]}; {same}, or {else_give}"
        )


def _lengthened(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Options of before, with those of now in which the same run may go on for longer."""
    epochs = before.get("epochs", now["epochs"])
    allowed = {}
    if now["epochs"] > epochs:
        allowed["epochs"] = now["epochs"]
        if before.get("sample_epochs") is None and (now["sample_epochs"] or 0) >= epochs:
            allowed["sample_epochs"] = now["sample_epochs"]  # so far no epoch was seen twice
    return {**before, **allowed}


def read_options(file: Path) -> dict[str, Any]:
    """The options in the config.yaml of a run, as they stand there.

    Raises:
        StkdError: It is missing or damaged.
        OSError: It cannot be read.
    """
    try:
        manifest.check(file)
        options = read_yaml(file)
    except (yaml.YAMLError, FileNotFoundError):
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
