"""What a teacher sees and knows, beside what its student does, in a line."""

from __future__ import annotations

from collections.abc import Sequence

from ..data import DataSet
from ..models.files import ModelInfo
from .live import LiveTeacher

__all__ = ["difference"]


def difference(teacher: LiveTeacher, data: DataSet) -> str | None:
    """How a teacher's images and classes differ from those of its student; None where they do not.

    Args:
        teacher: The teacher.
        data: The data set, as the student sees it.
    """
    info = teacher.info
    parts = []
    if _pixels(info) != _pixels(data):
        resized = "" if info.size == data.size else f"the student's resized, {info.interpolation}"
        parts.append(f"sees {_pixels(info, resized)}, the student {_pixels(data, data.interpolation)}")
    if info.classes != data.classes:
        parts.append(f"has {len(info.classes):,} classes, the data's {len(data.classes):,} {teacher.mapping.how}")
    return f"the teacher {info.model} {'; it '.join(parts)}" if parts else None


def _pixels(seen: DataSet | ModelInfo, how: str = "") -> str:
    """Size, colour and normalisation of what is seen, with words on how it comes to its size."""
    colour = "grey" if seen.channels == 1 else "colour"
    size = f"{seen.size} x {seen.size} {colour} pixels{how and f' ({how})'}"
    return f"{size}, mean {_numbers(seen.mean)}, std {_numbers(seen.std)}"


def _numbers(values: Sequence[float]) -> str:
    shown = [f"{value:.3g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else " ".join(shown)
