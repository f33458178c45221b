"""Names of the classes that a teacher tells apart, and where the classes of a data set are among them."""

from __future__ import annotations

import codecs
from pathlib import Path

from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..models.class_names import places, same, spelt_alike
from ..models.files import find_weights, read_info
from ..models.published import published
from ..models.weights import classes_in
from .cache import need_header

__all__ = ["classes_of_teacher", "positions", "read_classes"]


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
        lines = _text(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError):
        raise StkdError(f"cannot read the class names in {path}; give a text file with one name a line") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(map(same, names))) != len(names) or not names:
        raise StkdError(f"{path} must hold each class name once, one a line")
    return names


def positions(own: tuple[str, ...], wanted: tuple[str, ...]) -> list[int] | None:
    """Where each class of a data set is among a teacher's, by name; None where they are the same in the same order.

    Args:
        own: The teacher's class names, in the order of its outputs.
        wanted: Those of the data set.

    Raises:
        StkdError: The teacher does not know one.
    """
    found = places(own, wanted)
    strange = [name for name, place in zip(wanted, found, strict=True) if place < 0]
    if not strange:
        return None if found == list(range(len(own))) else found
    alike = spelt_alike(own, strange[0])
    hint = f"it has {alike!r}, which is spelt otherwise; " if alike is not None else ""
    raise StkdError(
        f"the teacher has {len(own)} classes, the data set {len(wanted)}, and the teacher does not know "
        f"{', '.join(map(repr, strange[:3]))}{' ...' if len(strange) > 3 else ''}; {hint}"
        "name the teacher's classes with --teacher-classes FILE, or train a teacher on this data set"
    )


def _text(content: bytes) -> str:
    """Text that may begin with a byte order mark, as editors on Windows write it."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig")
