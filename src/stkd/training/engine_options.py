"""Which engines options, methods and machine allow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from ..core.config import DistillConfig, TrainConfig
from ..core.devices import fast_bfloat16, plain_precision
from ..core.errors import StkdError
from ..models.compilation import Execution
from ..teachers.engines import TeacherEngine
from ..teachers.openvino import can_run
from .choice import StudentPrecision

__all__ = ["EngineOptions"]


@dataclass(frozen=True)
class EngineOptions:
    """What options, methods and machine allow.

    Attributes:
        config: The options.
        device: Where teacher and students run.
        features: Whether a method looks at features: then torch runs the teacher, uncompiled, so that it shows them.
        together: Whether nothing is compiled because runs of a study, or processes of a run, must all do alike.
        changing_rows: Whether batches change their size in the middle of the run, which OpenVINO does not take.
        method: The method that looks at features, for messages.
    """

    config: TrainConfig | DistillConfig
    device: torch.device
    features: bool
    together: bool
    changing_rows: bool
    method: str

    @property
    def plain_precision(self) -> StudentPrecision:
        """Of the students, if nothing is timed."""
        own = self.config.precision
        return plain_precision(self.device) if own == "auto" else own

    def student_precisions(self) -> list[StudentPrecision]:
        """Those that may be timed, float32 first; one that was asked for is taken."""
        if self.config.precision != "auto":
            return [self.config.precision]
        return ["32", "bf16"] if fast_bfloat16(self.device) else ["32"]

    @property
    def may_compile_students(self) -> bool:
        """Whether compiling them may be timed."""
        return self.config.compile == "auto" and not self.together

    def execution(self, role: Literal["teacher", "student"]) -> Execution:
        """What was asked for."""
        possible = not self.together and not (role == "teacher" and self.features)
        return "compiled" if self.config.compile in ("all", role) and possible else "eager"

    def plain_teacher(self, precision: StudentPrecision, *, long: bool) -> TeacherEngine:
        """What runs a teacher if nothing is timed.

        Args:
            precision: Of the students.
            long: Whether converting it pays where bf16 was asked for.

        Raises:
            StkdError: What was asked for is not possible here.
        """
        assert isinstance(self.config, DistillConfig)
        asked, library = self.config.teacher_precision, self.config.teacher_engine
        if asked == "int8" or library == "openvino":
            self._check_openvino("int8" if asked == "int8" else "")
            return TeacherEngine("openvino", precision if asked == "auto" else asked)
        if asked == "bf16" and library == "auto" and long and self._openvino_possible and fast_bfloat16(self.device):
            return TeacherEngine("openvino", "bf16")
        return TeacherEngine("torch", precision if asked == "auto" else asked, self.execution("teacher"))

    def teacher_engines(self, precision: StudentPrecision) -> list[TeacherEngine]:
        """Those that may be timed, the plain one first.

        Args:
            precision: Of the students.
        """
        assert isinstance(self.config, DistillConfig)
        plain = self.plain_teacher(precision, long=True)
        if self.config.teacher_precision != "auto":
            return [plain]
        precisions = self.student_precisions()
        torch_runs = [TeacherEngine("torch", p, self.execution("teacher")) for p in precisions]
        compiled = self.config.compile == "auto" and not self.features and not self.together
        if self.config.teacher_engine == "openvino":
            torch_runs, compiled = [], False
        elif self.config.teacher_engine == "torch" or not self._openvino_possible:
            precisions = []
        lower = self.config.precision == "auto" and bool(precisions) and can_run("int8")
        return [
            *torch_runs,
            *(TeacherEngine("openvino", p) for p in precisions if p != "16"),
            *([TeacherEngine("openvino", "int8")] if lower else []),
            *(replace(engine, execution="compiled") for engine in torch_runs if compiled),
        ]

    @property
    def _openvino_possible(self) -> bool:
        return self.device.type == "cpu" and not self.features and not self.changing_rows and can_run("32")

    def _check_openvino(self, precision: Literal["int8", ""]) -> None:
        assert isinstance(self.config, DistillConfig)
        what = "an int8 teacher" if precision else "a teacher in OpenVINO"
        instead = "--teacher-precision bf16" if precision else "--teacher-engine torch"
        if self.features:
            raise StkdError(
                f"method {self.method!r} looks at the teacher's features, which {what} does not show; take {instead}"
            )
        if self.device.type != "cpu":
            raise StkdError(f"{what} runs on a CPU; on a GPU take {instead}")
        if self.changing_rows:
            raise StkdError(f"{what} takes batches of one size, and --mix-until --beside change it; take {instead}")
        if self.config.teacher_engine == "torch":
            raise StkdError("an int8 teacher runs in OpenVINO; leave out --teacher-engine torch")
