"""Names of the classes that a teacher tells apart."""

from __future__ import annotations

import codecs
from pathlib import Path

from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..models.class_names import same
from ..models.files import find_weights, read_info
from ..models.published import published
from ..models.weights import classes_in
from .cache import need_header

__all__ = ["classes_of_teacher", "read_classes", "text_of"]


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
    names: tuple[str, ...] | None = None
    if config.teacher_weights is not None:
        file = find_weights(config.teacher_weights)
        info = read_info(file)
        names = classes_in(file) if info is None else info.classes
    elif config.teacher_pretrained and config.teacher is not None and (known := published(config.teacher)) is not None:
        names = known.names_for(())
    if names is None:
        raise StkdError(f"{data} names no classes and neither do the teacher's weights; give --teacher-classes FILE")
    return names


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line.

    Raises:
        StkdError: The file cannot be read or repeats a name.
    """
    try:
        lines = text_of(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError):
        raise StkdError(f"cannot read the class names in {path}; give a text file with one name a line") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(map(same, names))) != len(names) or not names:
        raise StkdError(f"{path} must hold each class name once, one a line")
    return names


def text_of(content: bytes) -> str:
    """Text that may begin with a byte order mark, as editors on Windows write it."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig")
