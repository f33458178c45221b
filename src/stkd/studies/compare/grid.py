"""The grid of a comparison: a teacher for each data set, and a run for each method, student and seed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.config import DistillConfig, OptimOptions, RunConfig, TrainConfig, build, completed, fine_tuning, plain
from ...core.errors import StkdError
from ...methods import Method
from ...methods.selection import mix_of, named_method
from ...mixing import Mix
from ...runs.directory import read_result
from ...runs.options import check_unchanged, read_options, with_cached_epochs
from ...training.choice import SharedChoice
from .recipe import Comparison

__all__ = ["Cell", "Grid", "Task", "grid_of"]

# Options that a teacher shares with its students, so that it sees the same images and classes and is not trained on the
# validation split, and runs on the same device.
_OF_DATA = (
    *("labels", "image_size", "crop_pct", "interpolation", "nested", "skip_bad"),
    *("val_fraction", "split_seed", "augment", "auto_augment", "erasing", "workers", "accelerator", "plugin"),
)


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes:
        title: Data set, student, method and seed, for messages.
        config: Its options.
        after: Run directory of its teacher, which has to be finished first.
        done: Whether it had been finished before.
        engines: What runs teacher and student in all runs of this student on this data set.
    """

    title: str
    config: TrainConfig | DistillConfig
    after: Path | None = None
    done: bool = False
    engines: SharedChoice | None = None


@dataclass(frozen=True)
class Cell:
    """One method with one student on one data set: a row of the table.

    Attributes:
        data: Name of the data set.
        student: Name of the model.
        label: Name of the method in the comparison.
        spec: The method as `--method` takes it.
        mix: Its virtual samples.
        runs: The run of each seed.
    """

    data: str
    student: str
    label: str
    spec: str
    mix: Mix
    runs: dict[int, Task]


@dataclass(frozen=True)
class Grid:
    """All runs of a comparison, in one directory.

    Attributes:
        teachers: Data set to the run of its teacher; empty where the teacher is given or none is needed.
        cells: Rows, in the order of the recipe.
    """

    out: Path
    comparison: Comparison
    teachers: dict[str, Task]
    cells: list[Cell]

    def tasks(self) -> Iterator[Task]:
        """All runs, teachers first, then seed by seed, so that an early look finds pairs."""
        yield from self.teachers.values()
        for seed in self.comparison.seeds:
            for cell in self.cells:
                yield cell.runs[seed]


def grid_of(comparison: Comparison, out: Path) -> Grid:
    """The runs of a comparison, and which of them are finished; writes nothing.

    Raises:
        StkdError: A method or option is wrong, a teacher is missing, or a run was made with other options.
    """
    out = Path(os.path.abspath(out))  # the teacher's path in a run's record must not depend on the working directory
    comparison = _as_begun(comparison, out)
    plugin = comparison.options.get("plugin")
    methods = {label: named_method(options["method"], plugin) for label, options in comparison.methods.items()}
    taught = [label for label, method in methods.items() if method.uses_teacher]
    if taught and comparison.teacher is None and not _teacher_given(comparison):
        raise StkdError(
            f"method {taught[0]!r} needs a teacher; "
            "give --teacher-weights RUN, or in the recipe teacher: {model: NAME, epochs: N}"
        )
    teachers = _teachers(comparison, out) if taught and comparison.teacher is not None else {}
    features = any(method.needs for method in methods.values())
    cells = [
        _cell(comparison, out, data, student, label, methods[label], teachers.get(data), features=features)
        for data in comparison.data
        for student in comparison.students
        for label in comparison.methods
    ]
    return Grid(out, comparison, teachers, cells)


def _as_begun(comparison: Comparison, out: Path) -> Comparison:
    """A comparison with what an earlier version did before there was an option, where that version began it.

    Runs that are still to be made must see the images as those that are finished did.
    """
    runs = (*out.glob("*/teacher/config.yaml"), *out.glob("*/*/*/seed-*/config.yaml"))
    if not runs:
        return comparison
    with suppress(StkdError):  # a damaged one is said when its run is made
        record = read_options(runs[0])
        own = {n: v for n, v in completed(record).items() if n not in record and n not in comparison.options}
        of_teacher = own
        if "layer_decay" not in record:  # then models that started trained had no defaults of their own
            own = {**own, **_of_any_start(DistillConfig, comparison.options)}
            of_teacher = {**of_teacher, **_of_any_start(TrainConfig, comparison.teacher or {})}
        teacher = comparison.teacher and {**of_teacher, **comparison.teacher}
        return dataclasses.replace(comparison, options={**own, **comparison.options}, teacher=teacher)
    return comparison


def _of_any_start(config: type[RunConfig], options: Mapping[str, Any]) -> dict[str, Any]:
    """The usual defaults in the place of those for fine-tuning."""
    return {name: getattr(OptimOptions, name) for name in fine_tuning(config, options)}


def _teacher_given(comparison: Comparison) -> bool:
    return any(comparison.options.get(name) for name in ("teacher_weights", "teacher_pretrained", "teacher_cache"))


def _teachers(comparison: Comparison, out: Path) -> dict[str, Task]:
    assert comparison.teacher is not None
    inherited = {n: comparison.options[n] for n in _OF_DATA if n in comparison.options}
    return {
        name: _task(
            f"{name} teacher",
            build(TrainConfig, {**inherited, **comparison.teacher, "data": spec, "out": out / name / "teacher"}),
        )
        for name, spec in comparison.data.items()
    }


def _cell(
    comparison: Comparison,
    out: Path,
    data: str,
    student: str,
    label: str,
    method: Method,
    teacher: Task | None,
    *,
    features: bool,
) -> Cell:
    shared = {**fine_tuning(DistillConfig, comparison.options), **comparison.options}  # whatever one method sets
    options = {**shared, **comparison.methods[label], "data": comparison.data[data], "student": student}
    if not method.uses_teacher:
        options = {k: v for k, v in options.items() if "teacher" not in k}
        teacher = None
    elif teacher is not None:
        options["teacher_weights"] = teacher.config.out
    after = teacher.config.out if teacher is not None else None
    together = out / data / student.replace("/", "-")
    engines, folder = SharedChoice(together / "engines.json", features), together / label
    first = build(DistillConfig, {**options, "out": folder})
    runs = {
        seed: _task(
            f"{data} {student} {label}, seed {seed}",
            dataclasses.replace(first, seed=seed, out=folder / f"seed-{seed}"),
            after,
            engines,
        )
        for seed in comparison.seeds
    }
    return Cell(data, student, label, first.method, mix_of(first, method), runs)


def _task(
    title: str,
    config: TrainConfig | DistillConfig,
    after: Path | None = None,
    engines: SharedChoice | None = None,
) -> Task:
    done = read_result(config.out) is not None
    if done:  # it is not made again, so it must have been made with the same options
        asked = with_cached_epochs(config) if isinstance(config, DistillConfig) else config
        check_unchanged(config.out / "config.yaml", plain(asked), else_give="another label, or another --out")
    return Task(title, config, after, done, engines)
