"""The recipe of a comparison: methods, students, data sets and seeds under one budget."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.config import DistillConfig, MixOptions, TrainConfig
from ...core.errors import SEEDS, StkdError, check_range, unknown
from ...core.options import checked
from ...core.recipes import with_underscores

__all__ = ["MIXING", "OF_METHOD", "SHARED", "Comparison", "items"]

MIXING = frozenset(f.name for f in dataclasses.fields(MixOptions))
_OF_CELL = frozenset({"data", "student", "seed", "out", "method", "generations", "devices", "strategy", "baseline"})

OF_METHOD = MIXING | {"method", "lr", "weight_decay", "label_smoothing", "clip_norm"}
"""Options that may differ between methods: what a method learns from, not how long or on which images."""

SHARED = frozenset(f.name for f in dataclasses.fields(DistillConfig)) - _OF_CELL - MIXING
"""Options that are the same for all methods."""

_KEYS = ("data", "options", "teacher", "students", "seeds", "baseline", "methods")
_MOST_SEEDS = 1000
_LONGEST = 200  # bytes; file systems take 255
_LABEL = re.compile(r"\w[\w.=,+-]*")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A checked recipe of `stkd compare`.

    Attributes:
        data: Name of each data set's directory, and the data set as `--data` takes it.
        students: Model names.
        methods: Label of each method, and its options: a subset of `OF_METHOD`.
        seeds: Seeds that every method runs with, so that methods are paired by seed.
        baseline: Label that the others are compared with.
        options: Options of every run, a subset of `SHARED`.
        teacher: Options of `stkd train` for the teacher of each data set; None if there is none to train.

    Raises:
        StkdError: Something contradicts itself.
    """

    data: Mapping[str, str]
    students: tuple[str, ...]
    methods: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...] = (0, 1, 2)
    baseline: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    teacher: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.baseline not in self.methods:
            raise unknown("baseline", self.baseline, self.methods)
        given = [n for n in ("teacher", "teacher_weights", "teacher_pretrained") if self.options.get(n)]
        if self.teacher is not None and given:
            raise StkdError(f"the recipe trains a teacher, and {given[0]} names another; leave out one of them")
        for name in (*self.methods, *self.data):
            if not _LABEL.fullmatch(name) or len(name.encode()) > _LONGEST:
                raise StkdError(f"{name!r} cannot be the name of a directory; use letters, digits and . _ = , + -")
        if bad := [name for name in self.students if name.startswith(".") or len(name.encode()) > _LONGEST]:
            raise StkdError(f"{bad[0]!r} is no name of a model, and cannot be that of a directory")
        if "teacher" in self.students:
            raise StkdError("a student cannot be called 'teacher', which is the name of the teacher's directory")

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> Comparison:
        """The comparison that a recipe describes, as YAML or flags give it.

        Args:
            recipe: data, students and methods, each a text with commas, a list or (methods) a mapping of labels; seeds
                (a list, or how many), baseline (default: kd, else the first method), options, teacher.

        Raises:
            StkdError: A key, an option or a value is wrong, or something is missing.
        """
        for key in recipe:
            if key not in _KEYS:
                raise _misplaced(key)
        for key in ("data", "students", "methods"):
            if not recipe.get(key):
                raise StkdError(f"nothing to compare: give --{key}, or {key} in the recipe")
        methods = _methods(recipe["methods"])
        return cls(
            data=_named_data(items(recipe["data"], "data")),
            students=tuple(items(recipe["students"], "students")),
            methods=methods,
            seeds=_seeds(recipe.get("seeds", 3)),
            baseline=str(recipe.get("baseline") or ("kd" if "kd" in methods else next(iter(methods)))),
            options=_shared(recipe.get("options")),
            teacher=_teacher(recipe.get("teacher")),
        )


def items(value: Any, what: str) -> list[str]:
    """A list of words from a list or from text with commas; a comma before `option=` belongs to the word.

    Raises:
        StkdError: It is neither, or a word comes twice.
    """
    words = re.split(r",(?!\w+=)", value) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(w, str) and w for w in words):
        raise StkdError(f"{what} must be names, such as [{what}-a, {what}-b], got {value!r}")
    if twice := {w for w in words if words.count(w) > 1}:
        raise StkdError(f"{what}: {min(twice)} is given twice")
    return list(words)


def _misplaced(key: str) -> StkdError:
    if key in SHARED:
        return StkdError(f"{key} is an option of every run; put it under options")
    if key in MIXING:
        return StkdError(f"{key} belongs to a method; put it into the method's entry")
    return unknown("key", key, _KEYS)


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise StkdError(f"{what} must be lines of 'option: value', got {value!r}")
    return with_underscores(value, what)


def _named_data(specs: list[str]) -> dict[str, str]:
    """A short name for each data set: its kind, or of a folder its own name."""
    named: dict[str, str] = {}
    for spec in specs:
        kind, _, path = spec.partition(":")
        name = Path(path).name if kind == "folder" and path else kind
        if name in named:
            raise StkdError(f"{named[name]} and {spec} would both be called {name}; compare them in two directories")
        named[name] = spec
    return named


def _seeds(value: Any) -> tuple[int, ...]:
    if type(value) is int:
        check_range("seeds", value, 1, _MOST_SEEDS)
    seeds = list(range(value)) if type(value) is int else value
    if not isinstance(seeds, list | tuple) or not seeds or not all(type(s) is int and s >= 0 for s in seeds):
        raise StkdError(f"seeds must be how many, or a list such as [0, 1, 2], got {value!r}")
    if len(set(seeds)) < len(seeds):
        raise StkdError(f"seeds must differ, got {list(seeds)}")
    for seed in seeds:
        check_range("each of the seeds", seed, *SEEDS)
    return tuple(seeds)


def _shared(value: Any) -> dict[str, Any]:
    options = _mapping(value or {}, "options")
    for name in options:
        if name in MIXING:
            raise StkdError(f"options: {name} belongs to a method; put it into the method's entry")
        if name in _OF_CELL:
            raise StkdError(f"options: {name} cannot be given here; a comparison sets it for each run")
    return checked(DistillConfig, options)


def _teacher(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    options = _mapping(value, "teacher")
    if "model" not in options:
        raise StkdError("the teacher of the recipe has no model; write teacher: {model: NAME, epochs: N}")
    if unfit := {"data", "out"} & set(options):
        raise StkdError(f"teacher: {min(unfit)} cannot be given here; a comparison sets it for each run")
    return checked(TrainConfig, options)


def _methods(value: Any) -> dict[str, dict[str, Any]]:
    if isinstance(value, str | list | tuple):
        value = {spec.replace(":", "-"): spec for spec in items(value, "methods")}
    methods = {}
    for label, entry in _mapping_of_labels(value).items():
        options = {"method": entry} if isinstance(entry, str) else _mapping(entry, f"method {label!r}")
        if "method" not in options:
            raise StkdError(f"method {label!r} has no method; write {label}: {{method: NAME}}")
        for name in options:
            if name in SHARED - OF_METHOD:
                raise StkdError(f"method {label!r} sets {name}; the budget is the same for all: put it under options")
            if name not in OF_METHOD:
                raise unknown(f"option of method {label!r}", name, OF_METHOD)
        methods[label] = checked(DistillConfig, options)
    return methods


def _mapping_of_labels(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise StkdError(f"methods must be lines of 'label: {{method: NAME}}', or a list of names, got {value!r}")
    return {str(label): entry for label, entry in value.items()}
