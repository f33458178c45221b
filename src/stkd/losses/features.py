"""Shared by the losses on features: lists of layers, shape checks, precision and equal spatial sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..core.errors import StkdError
from .logits import at_least_float32

__all__ = ["Features", "as_maps", "pairs", "same_channels", "same_size"]

Features = Tensor | Sequence[Tensor]
"""Features of one layer, (B, D) or (B, C, H, W), or a list of them, shallow to deep."""


def pairs(
    student_features: Features, teacher_features: Features, ndim: int | None = None
) -> list[tuple[Tensor, Tensor]]:
    """The layers of student and teacher side by side, in float32 at least.

    Args:
        student_features: (B, D) or (B, C, H, W), or a list of them.
        teacher_features: The same number of them; other channels and sizes are allowed.
        ndim: 4 for a loss on maps, 2 for a loss on vectors, None for either.

    Raises:
        StkdError: The lists differ in length, the layers in batch size or dimensions, or the loss needs others.
    """
    students = [student_features] if isinstance(student_features, Tensor) else list(student_features)
    teachers = [teacher_features] if isinstance(teacher_features, Tensor) else list(teacher_features)
    if not students or len(students) != len(teachers):
        raise StkdError(
            f"{len(students)} student layers and {len(teachers)} teacher layers; give as many of one as of the other"
        )
    for s, t in zip(students, teachers, strict=True):
        if s.shape[0] != t.shape[0] or s.ndim != t.ndim or s.ndim not in ((2, 4) if ndim is None else (ndim,)):
            vectors, maps = "(batch, dim)", "(batch, channels, height, width)"
            wanted = f"{vectors} or {maps}" if ndim is None else vectors if ndim == 2 else maps
            raise StkdError(
                f"student features {tuple(s.shape)} and teacher features {tuple(t.shape)} must both be {wanted};"
                " tap other layers"
            )
    return [(at_least_float32(s), at_least_float32(t)) for s, t in zip(students, teachers, strict=True)]


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller height and width of the two, by average pooling; vectors as they are."""
    if student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    height, width = (min(s, t) for s, t in zip(student.shape[2:], teacher.shape[2:], strict=True))
    return _shrink(student, height, width), _shrink(teacher, height, width)


def same_channels(student: Tensor, teacher: Tensor) -> None:
    """Check that both features have the same number of channels.

    Raises:
        StkdError: They do not.
    """
    if student.shape[1] != teacher.shape[1]:
        raise StkdError(
            f"student features have {student.shape[1]} channels, teacher features {teacher.shape[1]};"
            " bring the student to the teacher's with a connector first"
        )


def as_maps(features: Tensor) -> Tensor:
    """Vectors (B, D) as maps (B, D, 1, 1); maps as they are."""
    return features[:, :, None, None] if features.ndim == 2 else features


def _shrink(x: Tensor, height: int, width: int) -> Tensor:
    # Even windows go another way because the backward of adaptive pooling is not deterministic on CUDA.
    if x.shape[2] % height == 0 and x.shape[3] % width == 0:
        return F.avg_pool2d(x, (x.shape[2] // height, x.shape[3] // width))
    return F.adaptive_avg_pool2d(x, (height, width))
