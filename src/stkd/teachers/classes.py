"""Names of the classes that a teacher tells apart."""

from __future__ import annotations

from pathlib import Path

from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..models.files import find_weights, read_info
from .cache import need_header

__all__ = ["classes_of_teacher", "read_classes"]


def classes_of_teacher(config: DistillConfig, data: str) -> tuple[str, ...]:
    """Class names for images without labels: those of the teacher that a config names.

    Args:
        config: The options.
        data: Name of the data set, for messages.

    Raises:
        StkdError: Neither the options nor the teacher's weights name any.
    """
    if config.teacher_cache is not None:
        return need_header(config.teacher_cache).classes
    if config.teacher_classes is not None:
        return read_classes(config.teacher_classes)
    info = read_info(find_weights(config.teacher_weights)) if config.teacher_weights is not None else None
    if info is None:
        raise StkdError(f"{data} names no classes and neither do the teacher's weights; give --teacher-classes FILE")
    return info.classes


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line.

    Raises:
        StkdError: The file cannot be read or repeats a name.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError):
        raise StkdError(f"cannot read the class names in {path}; give a text file with one name a line") from None
    if len(set(names)) != len(names) or not names:
        raise StkdError(f"{path} must hold each class name once, one a line")
    return names
