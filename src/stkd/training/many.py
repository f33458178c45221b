"""Several students that learn beside each other from one pass of the teacher; each one's result is its single run's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from ..api import Result, conclude, given, module_of, name_of, options_of_teacher, student_of
from ..core.config import DistillConfig, OptimOptions, build
from ..core.devices import make_fabric
from ..core.errors import StkdError, unknown
from ..core.options import checked
from ..core.recipes import read_mapping
from ..data import DataSet
from ..methods import Method
from ..methods.selection import method_of, mix_of
from ..mixing import Mix
from ..runs.directory import RunDir, read_result
from ..teachers.selection import with_cached_epochs
from .learner import Diverged, Learner
from .loop import train
from .randomness import Stream
from .session import prepare, ready

__all__ = ["configs_of", "distill_many", "read_students", "run_many"]

_SHARED = {"epochs", "batch_size"}
_OWN = {
    *("student", "student_options", "student_weights", "student_pretrained", "method", "seed"),
    *(field.name for field in dataclasses.fields(OptimOptions) if field.name not in _SHARED),
}
"""Options in which students of one teacher pass may differ."""


def distill_many(
    teacher: str | nn.Module | None,
    students: Mapping[str, Mapping[str, Any]],
    data: str | DataSet,
    method: str = "stkd",
    *,
    out: str | Path,
    **options: Any,
) -> dict[str, Result | Diverged]:
    """Distil a teacher into several students beside each other; it answers once for all.

    Args:
        teacher: As in `stkd.distill`.
        students: For each the name of its run directory below `out`, and its own options: `student` (a model name or
            any module), `method`, `seed` and those of the optimiser but `epochs` and `batch_size`.
        data: "KIND:PATH" or a data set.
        method: Of the students that name none.
        out: Folder of the run directories; the same call again resumes.
        options: Fields of `DistillConfig` that all have.

    Returns:
        For each student its result, or why it was given up: one that diverges leaves the others alone.

    Raises:
        StkdError: An option, a file or a name is wrong, or the students would not see the same samples.

    Example:
        >>> stkd.distill_many("runs/teacher", {"a": {"student": "resnet8"}, "b": {"student": "resnet8", "seed": 1}},
        ...                   "cifar100:PATH", out="runs/group", epochs=240)
    """
    modules = {name: own["student"] for name, own in students.items() if isinstance(own.get("student"), nn.Module)}
    named = {
        name: {**own, "student": name_of(own["student"])} if "student" in own else own for name, own in students.items()
    }
    common = {**options_of_teacher(teacher), **options, "data": name_of(data), "method": method, "out": out}
    configs = configs_of(common, named)
    opened = given(data, next(iter(configs.values())))
    return run_many(configs, data=opened, students=modules, teacher=module_of(teacher))


def read_students(path: Path) -> dict[str, dict[str, Any]]:
    """A YAML file of students: name, and the options that are its own.

    Raises:
        StkdError: The file cannot be read, or is something else.
    """
    students = read_mapping(path, "students")
    if not students or not all(isinstance(own, dict) for own in students.values()):
        raise StkdError(f"{path} must be lines of 'name: {{option: value}}', such as 'small: {{student: resnet8}}'")
    return {
        name: {str(option).replace("-", "_"): value for option, value in own.items()} for name, own in students.items()
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
    return configs


def run_many(
    configs: Mapping[str, DistillConfig],
    *,
    data: DataSet | None = None,
    students: Mapping[str, nn.Module] | None = None,
    teacher: nn.Module | None = None,
    progress: bool = True,
) -> dict[str, Result | Diverged]:
    """Distil as configs of `configs_of` say; `data`, `students` and `teacher` stand in for what they name.

    Returns:
        For each student its result, or why it was given up; it leaves the others alone.

    Raises:
        StkdError: An option or a file is wrong, or the students would not see the same samples.
    """
    found = {name: method_of(config) for name, config in configs.items()}
    mix = _common_mix(configs, found)
    if any(method.needs for method in found.values()):
        # taps that come later would not be seen by a teacher that was compiled for the first student
        configs = {name: dataclasses.replace(config, compile="none") for name, config in configs.items()}
    if any(method.uses_teacher for method in found.values()):
        configs = {name: with_cached_epochs(config) for name, config in configs.items()}
    subjects = {name: student_of(config, (students or {}).get(name)) for name, config in configs.items()}
    results: dict[str, Result | Diverged] = {}
    with ExitStack() as stack:
        runs, learners = {}, dict[str, Learner]()
        for name, config in configs.items():
            runs[name] = RunDir(config)
            stack.callback(runs[name].close)
            if (done := read_result(config.out)) is not None:
                results[name] = Result(config.out, config.out / subjects[name].weights_name, done, fresh=False)
        # those that look at features first: they decide how the teacher is run
        todo = sorted((name for name in configs if name not in results), key=lambda name: not found[name].needs)
        if todo:
            fabrics = {name: make_fabric(configs[name]) for name in todo}
            first, methods = todo[0], [found[name] for name in todo]
            shared = prepare(configs[first], methods, mix, fabrics[first], data=data, teacher=teacher)
            for name in todo:
                beside = [other for other in todo if other != name]
                learner = ready(
                    configs[name], found[name], subjects[name], shared, runs[name], fabrics[name], beside=beside
                )
                learner.stream, learners[name] = Stream(learner.fabric.device), learner
            train(list(learners.values()), shared.loader, progress=progress)
        for name, learner in learners.items():
            with learner.stream:
                results[name] = learner.lost or conclude(learner)
    return {name: results[name] for name in configs}


def _common_mix(configs: Mapping[str, DistillConfig], found: Mapping[str, Method]) -> Mix:
    mixes = {name: mix_of(config, found[name]) for name, config in configs.items()}
    first, mix = next(iter(mixes.items()))
    for name, other in mixes.items():
        if other != mix:
            raise StkdError(
                f"{first} and {name} would see other samples ({_words(mix)}, {_words(other)}); choose them for all "
                "with --mix, or run them apart"
            )
        if configs[name].devices > 1 or configs[name].generations > 1:
            raise StkdError("several students learn on one device and in one generation; leave out the option")
    return mix


def _words(mix: Mix) -> str:
    return f"{mix.kind} of {mix.instances}" if mix.active else "no mixing"
