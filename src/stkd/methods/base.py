"""What a method is: which virtual samples it wants, how much the labels count, and its named losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..data.loader import Batch
from ..mixing import Mix
from ..registry import Registry

__all__ = ["REAL", "Method", "View", "methods"]

REAL = Mix(kind="none", instances=1)
"""Real images, no mixing."""


@dataclass(frozen=True)
class View:
    """What a method sees in one step.

    Attributes:
        batch: The virtual samples, shown to student and teacher alike.
        student: Logits (R, C), with gradient.
        teacher: Logits (R, C), without; None when the method asked for no teacher.
    """

    batch: Batch
    student: Tensor
    teacher: Tensor | None = None

    @property
    def taught(self) -> Tensor:
        """The teacher's logits, for methods that use a teacher."""
        assert self.teacher is not None, "the method did not ask for a teacher"
        return self.teacher


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train a student. Subclass it as a frozen dataclass; its fields are the options users may set.

    The cross-entropy with the (mixed) labels is the trainer's; a method adds its own losses.
    """

    mix: ClassVar[Mix] = REAL
    """Virtual samples it asks for when the user does not choose."""

    @property
    def uses_teacher(self) -> bool:
        """Whether it looks at a teacher."""
        return True

    @property
    def label_weight(self) -> float:
        """Weight of the cross-entropy with the labels; 0 needs no labels."""
        return 1.0

    @property
    def needs_labels(self) -> bool:
        """Whether every training image must have a label."""
        return self.label_weight > 0

    def losses(self, view: View) -> dict[str, Tensor]:
        """Named, weighted losses of one step, to be added to the cross-entropy."""
        raise NotImplementedError


methods: Registry[type[Method]] = Registry("method", "stkd.methods")
