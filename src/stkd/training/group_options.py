"""Students that learn from one pass of the teacher: which options are their own, and which all have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.config import DistillConfig, OptimOptions, build
from ..core.errors import StkdError, unknown
from ..core.options import checked
from ..core.recipes import read_mapping, with_underscores

__all__ = ["configs_of", "read_students"]

_SHARED = {"epochs", "batch_size"}
_OWN = {
    *("student", "student_options", "student_weights", "student_weights_key", "student_pretrained"),
    *("method", "seed"),
    *(field.name for field in dataclasses.fields(OptimOptions) if field.name not in _SHARED),
}
"""Options in which students of one teacher pass may differ."""


def read_students(path: Path) -> dict[str, dict[str, Any]]:
    """A YAML file of students: name, and the options that are its own.

    Raises:
        StkdError: The file cannot be read, or is something else.
    """
    students = read_mapping(path, "students")
    if not students or not all(isinstance(own, dict) for own in students.values()):
        raise StkdError(f"{path} must be lines of 'name: {{option: value}}', such as 'small: {{student: resnet8}}'")
    return {
        name: with_underscores({str(option): value for option, value in own.items()}, f"{path}: {name}")
        for name, own in students.items()
    }


def configs_of(common: Mapping[str, Any], students: Mapping[str, Mapping[str, Any]]) -> dict[str, DistillConfig]:
    """The config of each student; `out` is the folder of their run directories.

    The samples are those of the common `data_seed`, or else of the common `seed`, whatever a student's own seed is.

    Args:
        common: Options of all.
        students: Name of the run directory to the student's own options.

    Raises:
        StkdError: A name is no plain one, or an option is wrong or not a student's own.
    """
    if not students:
        raise StkdError("there are no students; give each a name and its options")
    if common.get("out") is None:
        raise StkdError("--out is missing: folder of the students' run directories")
    data_seed = common.get("data_seed")
    data_seed = common.get("seed", 0) if data_seed is None else data_seed
    configs = {}
    for name, own in students.items():
        if Path(name).name != name or name.startswith("."):
            raise StkdError(f"{name!r} cannot be the name of a run directory; give a student a plain name")
        for option in own:
            if option not in _OWN and option in {field.name for field in dataclasses.fields(DistillConfig)}:
                raise StkdError(f"{option} is the same for all students; give it beside them, not to {name}")
            if option not in _OWN:
                raise unknown("option", option, _OWN)
        options = {**common, **own, "out": Path(common["out"]) / name, "data_seed": data_seed}
        configs[name] = build(DistillConfig, checked(DistillConfig, options))
    published = {config.student if config.student_pretrained else None for config in configs.values()}
    if len(published) > 1 and not any(common.get(name) for name in ("crop_pct", "interpolation")):
        # they share the images of evaluation, which are then not those of one student's published weights
        configs = {n: dataclasses.replace(c, crop_pct=1.0, interpolation="bilinear") for n, c in configs.items()}
    starts = {(config.student_pretrained and config.student, config.student_weights) for config in configs.values()}
    if len(starts) > 1 and common.get("norm") is None:
        configs = {n: dataclasses.replace(c, norm="data") for n, c in configs.items()}
    return configs
