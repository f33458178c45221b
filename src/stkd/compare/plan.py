"""The runs of a comparison: a teacher for each data set, and a run for each method, student and seed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config import DistillConfig, TrainConfig, build, to_yaml
from ..errors import StkdError
from ..methods import Method, parse, resolve_mix
from ..mixing import Mix
from ..plugins import load_plugin
from ..training.run import FREE, read_result
from .spec import Comparison

__all__ = ["Cell", "Plan", "Task", "plan"]

# What a teacher has to share with its students, so that it sees the same images and classes and keeps off the
# validation split; and where it runs.
_OF_DATA = ("labels", "image_size", "val_fraction", "split_seed", "augment", "workers", "accelerator", "plugin")


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes:
        title: What it is, in a few words.
        config: Its options.
        after: Run directory that has to be finished first, that of its teacher.
        done: Whether it had been finished before.
    """

    title: str
    config: TrainConfig | DistillConfig
    after: Path | None = None
    done: bool = False


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
class Plan:
    """Everything that a comparison runs, below one directory.

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


def plan(comparison: Comparison, out: Path) -> Plan:
    """The runs of a comparison; looks at what is finished and changes nothing.

    Raises:
        StkdError: A method or option is wrong, a teacher is missing, or a run was made with other options.
    """
    out = Path(os.path.abspath(out))  # a run's record of its teacher must not depend on the working directory
    if plugin := comparison.options.get("plugin"):
        load_plugin(plugin)
    methods = {label: parse(options["method"]) for label, options in comparison.methods.items()}
    taught = [label for label, method in methods.items() if method.uses_teacher]
    if taught and comparison.teacher is None and not _teacher_given(comparison):
        raise StkdError(
            f"method {taught[0]!r} needs a teacher; "
            "give --teacher-weights RUN, or in the recipe teacher: {model: NAME, epochs: N}"
        )
    teachers = _teachers(comparison, out) if taught and comparison.teacher is not None else {}
    cells = [
        _cell(comparison, out, data, student, label, methods[label], teachers.get(data))
        for data in comparison.data
        for student in comparison.students
        for label in comparison.methods
    ]
    return Plan(out, comparison, teachers, cells)


def _teacher_given(comparison: Comparison) -> bool:
    return any(comparison.options.get(name) for name in ("teacher_weights", "teacher_pretrained"))


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
    comparison: Comparison, out: Path, data: str, student: str, label: str, method: Method, teacher: Task | None
) -> Cell:
    options = {**comparison.options, **comparison.methods[label], "data": comparison.data[data], "student": student}
    if not method.uses_teacher:
        options = {k: v for k, v in options.items() if "teacher" not in k}
        teacher = None
    elif teacher is not None:
        options["teacher_weights"] = teacher.config.out
    after = teacher.config.out if teacher is not None else None
    folder = out / data / student.replace("/", "-") / label
    first = build(DistillConfig, {**options, "out": folder})
    runs = {
        seed: _task(
            f"{data} {student} {label}, seed {seed}",
            dataclasses.replace(first, seed=seed, out=folder / f"seed-{seed}"),
            after,
        )
        for seed in comparison.seeds
    }
    mix = resolve_mix(
        method,
        kind=first.mix,
        instances=first.instances,
        alpha=first.alpha,
        per_sample=first.per_sample,
        real=first.real,
        beside=first.beside,
    )
    return Cell(data, student, label, first.method, mix, runs)


def _task(title: str, config: TrainConfig | DistillConfig, after: Path | None = None) -> Task:
    done = read_result(config.out) is not None
    if done:
        _check_same(config)
    return Task(title, config, after, done)


def _check_same(config: TrainConfig | DistillConfig) -> None:
    """A finished run is taken as it is, so it must have been made with the same options."""
    file = config.out / "config.yaml"
    try:
        before = yaml.safe_load(file.read_text(encoding="utf-8"))
        now = yaml.safe_load(to_yaml(config))
        differing = [n for n in now if n in before and n not in FREE and not _same(n, before, now)]
    except (yaml.YAMLError, TypeError, UnicodeDecodeError, FileNotFoundError):
        raise StkdError(f"{file} is missing or damaged; give another --out, or delete {config.out}") from None
    if differing:
        name = differing[0]
        raise StkdError(
            f"{config.out} was made with {name}={before[name]}, now {name}={now[name]}; "
            "give the same options, another label, or another --out"
        )


def _same(name: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    if name != "teacher_weights" or None in (before[name], now[name]) or before[name] == now[name]:
        return bool(before[name] == now[name])
    # a comparison that was moved as a whole still has its teacher at the same place beside it
    places = {os.path.relpath(options[name], options["out"]) for options in (before, now)}
    return len(places) == 1
