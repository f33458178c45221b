"""The choice of what runs teacher and students: kept with a run, and shared by the runs of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from filelock import FileLock

from ..core.errors import StkdError
from ..core.records import read_record, write_record
from ..models.compilation import Execution
from ..teachers.engines import TeacherEngine
from ..teachers.openvino import named

__all__ = ["Choice", "SharedChoice", "StudentPrecision"]

StudentPrecision = Literal["32", "bf16", "16", "64"]


@dataclass(frozen=True)
class Choice:
    """What runs teacher and students.

    Attributes:
        precision: Arithmetic of the students; None where it is still to be chosen.
        student: How torch runs them; one whose features a method looks at is never compiled.
        teachers: What runs each model of the teacher; None where that is still to be chosen.
        by: How it came about: "trial", "options", "plain" (too short for a trial), "earlier version".
        facts: What the trial found, for the record.
    """

    precision: StudentPrecision | None = None
    student: Execution = "eager"
    teachers: tuple[TeacherEngine, ...] | None = None
    by: str = "options"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        teachers = [f"teacher in {engine}" for engine in self.teachers or ()]
        own = "" if self.student == "eager" else ", compiled"
        return ", ".join([*teachers, f"student in {named(self.precision or '32')}{own}"])

    def record(self) -> dict[str, Any]:
        """As env.json and files that runs share hold it."""
        teachers = None if self.teachers is None else [engine.record() for engine in self.teachers]
        return {
            "by": self.by,
            "precision": self.precision,
            "student": self.student,
            "teachers": teachers,
            **self.facts,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Choice:
        """The choice of a record."""
        kept = {"by", "precision", "student", "teachers"}
        teachers = record["teachers"]
        return cls(
            cast(StudentPrecision, record["precision"]),
            record["student"],
            None if teachers is None else tuple(TeacherEngine.of(one) for one in teachers),
            record["by"],
            {name: value for name, value in record.items() if name not in kept},
        )

    def same_engines(self, other: Choice) -> bool:
        """Whether both run everything alike."""
        return replace(self, by="", facts={}) == replace(other, by="", facts={})


@dataclass(frozen=True)
class SharedChoice:
    """One choice of all runs of a study, made by the first of them.

    Attributes:
        file: Where it is kept.
        features: Whether a run of the study looks at features: then torch runs the teacher of all, and nothing is
            compiled.
    """

    file: Path
    features: bool = False

    @contextmanager
    def held(self) -> Iterator[Choice]:
        """What was chosen so far; while the context lasts other runs wait for what is added.

        Raises:
            StkdError: The file is damaged.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_name(f".{self.file.name}.lock")):
            yield self._read()

    def _read(self) -> Choice:
        if not self.file.exists():
            return Choice()
        try:
            return Choice.of(read_record(self.file))
        except (OSError, ValueError, KeyError, TypeError):
            raise StkdError(f"{self.file} is damaged; delete it, and the runs that are left choose anew") from None

    def write(self, choice: Choice) -> None:
        """Keep a choice."""
        write_record(self.file, choice.record())
