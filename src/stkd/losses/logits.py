"""Shared by the losses on logits: shape checks, precision, temperature and logit standardization."""

from __future__ import annotations

from torch import Tensor

from ..core.errors import StkdError, check_range

__all__ = ["at_least_float32", "check_logits", "check_temperature", "soften", "standardized"]


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32 if it is in half precision, else as it is; a softmax or a Gram matrix needs the digits."""
    return x.float() if x.element_size() < 4 else x


def check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Check that both logits have the same shape (B, C).

    Raises:
        StkdError: They do not.
    """
    student, teacher = tuple(student_logits.shape), tuple(teacher_logits.shape)
    if len(student) != 2 or student != teacher:
        raise StkdError(
            f"student logits {student} and teacher logits {teacher} must have one shape (batch, classes);"
            " map the teacher's classes to the student's"
        )


def check_temperature(temperature: float | Tensor, name: str = "temperature") -> None:
    """Check that a temperature leaves the logits finite and their differences to be seen: from 0.001 to 100,000.

    Args:
        temperature: T; a tensor is not looked at, which would wait for its device.
        name: What it is called in the message.

    Raises:
        StkdError: It is not.
    """
    if not isinstance(temperature, Tensor):
        check_range(name, temperature, 0.001, 100_000)


def standardized(logits: Tensor) -> Tensor:
    """Logits (B, C) with mean 0 and standard deviation 1 in every row.

    Source: Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024, algorithm 1.
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (logits.std(dim=1, keepdim=True) + 1e-7)


def soften(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor = 1.0, standardize: bool = False
) -> tuple[Tensor, Tensor]:
    """Student and teacher logits, checked, in float32 at least, z-scored if asked, divided by the temperature.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T > 0; a tensor when it is learned.
        standardize: Z-score each row before dividing by T.

    Returns:
        The two softened logits, ready for a softmax.

    Raises:
        StkdError: The shapes differ or are not (B, C), or the temperature is out of range.
    """
    check_logits(student_logits, teacher_logits)
    check_temperature(temperature)
    student, teacher = at_least_float32(student_logits), at_least_float32(teacher_logits)
    if standardize:
        student, teacher = standardized(student), standardized(teacher)
    return student / temperature, teacher / temperature
