"""The base class of methods, and what a method sees in setup and in a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from ..core.errors import StkdError, check_range
from ..core.registry import Registry
from ..data.loader import Batch
from ..losses.logits import check_temperature
from ..mixing import Mix

__all__ = ["REAL", "Method", "Need", "Setup", "Tapped", "View", "check_positive", "check_share", "methods"]

Need = Literal["stages", "preact", "pooled"]
"""Features a method looks at: ends of the stages, the same before their last activation, the classifier's input."""

REAL = Mix(kind="none", instances=1)
"""Real images, no mixing."""


@dataclass(frozen=True)
class Tapped:
    """Features of one model, float32, those that the method needs.

    Attributes:
        stages: (R, C, H, W) each, shallow to deep; as many for student as for teacher, counted from the deepest.
        preact: The same before the last activation of each stage, where the model tells (ours do), else `stages`.
        pooled: (R, D), input of the classifier.
    """

    stages: tuple[Tensor, ...] = ()
    preact: tuple[Tensor, ...] = ()
    pooled: tuple[Tensor, ...] = ()

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """The stages without the stem, which the CRD benchmark leaves out."""
        return self.stages[1:] or self.stages

    @property
    def preact_blocks(self) -> tuple[Tensor, ...]:
        """The same before the activations."""
        return self.preact[1:] or self.preact


@dataclass(frozen=True)
class Setup:
    """What a method sees once, before training, to build its extra modules.

    Attributes:
        student, teacher: Features of two images, for their shapes; empty for a method without a teacher.
        teacher_norms: For each of the teacher's pre-activation features the batch norm that gives it, None where the
            model does not tell.
        student_model: The student, as it is before training.
        labels: int64 (N,), of the training images.
    """

    student: Tapped
    teacher: Tapped
    student_model: nn.Module
    labels: Tensor
    teacher_norms: tuple[nn.BatchNorm2d | None, ...] = ()


def _as_it_is(rows: Tensor) -> Tensor:
    return rows


@dataclass(frozen=True)
class View:
    """What a method sees in one step.

    Attributes:
        batch: The virtual samples, which student and teacher both see.
        student: Logits (R, C), with gradient.
        teacher: Logits (R, C), without; None when the method asked for no teacher.
        student_features, teacher_features: What the method needs of them.
        extras: What the method built.
        teacher_model: The frozen teacher, for methods that use a part of it.
        epoch, epochs: Epochs done, and epochs of the run.
        class_weights: (C,), of a cross-entropy with the labels; None weighs all classes alike.
        whole: Of several processes, each of which has some of the batch's images, makes what a model answers to these
            that of all images, (R, ...). All else that a method sees is of all.
    """

    batch: Batch
    student: Tensor
    teacher: Tensor | None = None
    student_features: Tapped = field(default_factory=Tapped)
    teacher_features: Tapped = field(default_factory=Tapped)
    extras: nn.Module | None = None
    teacher_model: nn.Module | None = None
    epoch: int = 0
    epochs: int = 1
    class_weights: Tensor | None = None
    whole: Callable[[Tensor], Tensor] = _as_it_is

    @property
    def taught(self) -> Tensor:
        """The teacher's logits, for methods that use a teacher."""
        assert self.teacher is not None, "the method did not ask for a teacher"
        return self.teacher

    def warmed(self, share: float) -> float:
        """A factor that rises linearly over the first `share` of the epochs and is 1 from then on."""
        return min(1.0, (self.epoch + 1) / max(1.0, share * self.epochs))


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train a student. Subclass it as a frozen dataclass; its fields are the options users may set.

    The cross-entropy with the (mixed) labels is the trainer's; a method adds its own losses.

    Raises:
        StkdError: An option that is a number is negative, not finite or too large, or a temperature is zero.
    """

    mix: ClassVar[Mix] = REAL
    """Virtual samples it asks for when the user does not choose."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    """Features of student and teacher that it looks at."""

    real_rows: ClassVar[bool] = False
    """Whether it works on real images alone, so that a batch of virtual samples must keep some."""

    remembers_images: ClassVar[bool] = False
    """Whether its extra modules hold something of each training image, by its place in the data set."""

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if not isinstance(value, (int, float)):
                continue
            if option.name.endswith("temperature"):
                check_positive(option.name, value)
                check_temperature(value, option.name)
            if not 0 <= value < math.inf:
                raise StkdError(f"{option.name} must be zero or a positive number, got {value}")
            check_range(option.name, value, 0, _LARGEST)

    @property
    def uses_teacher(self) -> bool:
        """Whether it looks at a teacher."""
        return True

    @property
    def label_weight(self) -> float:
        """Weight of the cross-entropy with the labels; 0 needs no labels."""
        return 1.0

    @property
    def all_logits(self) -> bool:
        """Whether it compares all of the teacher's logits as they are, so that the largest alone will not do."""
        return bool(getattr(self, "standardize", False))

    @property
    def labels_real_alone(self) -> bool:
        """Whether the cross-entropy with the labels is that of the real rows of a batch, and not of all."""
        return False

    @property
    def looks_at_labels(self) -> bool:
        """Whether its own losses look at the labels too, and not the cross-entropy alone."""
        return False

    @property
    def needs_labels(self) -> bool:
        """Whether it learns from labels."""
        return self.label_weight > 0 or self.looks_at_labels

    @property
    def preparation(self) -> float:
        """Share of the epochs of a two-stage method in which `first_stage_losses` alone are minimised."""
        return 0.0

    def first_stage_epochs(self, epochs: int) -> int:
        """Epochs of the first stage in a run of so many: at least one, and at least one is left for the labels.

        Raises:
            StkdError: The run is too short for two stages.
        """
        if self.preparation == 0:
            return 0
        if epochs == 1:
            raise StkdError("this method has two stages and needs --epochs 2 or more")
        return min(max(1, round(self.preparation * epochs)), epochs - 1)

    def adapt(
        self,
        student: nn.Module,
        name: str,
        teacher: nn.Module,
        sample: Tensor,
        taught: Tensor,
        classes: Tensor | None = None,
    ) -> tuple[nn.Module, str]:
        """The student that is trained and saved, and its model name; a method may put it on the teacher's classifier.

        Args:
            student: As the user chose it.
            name: Its name for `stkd.models.create`.
            teacher: The teacher's module.
            sample: Images (2, C, H, W) as the student sees them.
            taught: The same as the teacher sees them.
            classes: int64 (C,), the data set's classes among the teacher's outputs; None where they are the same.
        """
        return student, name

    def build(self, setup: Setup) -> nn.Module | None:
        """Extra modules: trained with the student, kept in checkpoints, never part of the student's weights."""
        return None

    def losses(self, view: View) -> dict[str, Tensor]:
        """Named, weighted losses of one step, to be added to the cross-entropy."""
        raise NotImplementedError

    def first_stage_losses(self, view: View) -> dict[str, Tensor]:
        """Losses of a step of the first stage, without labels."""
        return {}


_LARGEST = 1_000_000_000
"""Of all options: losses times a much larger weight leave the range of float32."""


def check_share(name: str, value: float) -> None:
    """Check that an option lies between 0 and 1.

    Raises:
        StkdError: It does not.
    """
    if not 0 <= value <= 1:
        raise StkdError(f"{name} must lie between 0 and 1, got {value}")


def check_positive(name: str, value: float) -> None:
    """Check that an option is above 0 and finite.

    Raises:
        StkdError: It is not.
    """
    if not 0 < value < math.inf:
        raise StkdError(f"{name} must be a positive number, got {value}")


methods: Registry[type[Method]] = Registry("method", "stkd.methods")
