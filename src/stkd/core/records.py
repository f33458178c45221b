"""Records in JSON that end with a digest of themselves, for files that several processes may write.

The digest is that of the text with zeros in its place, so that each byte of the file counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .files import write_atomic

__all__ = ["parse_record", "read_record", "write_record"]

_BYTES = 16
_BLANK = "0" * 2 * _BYTES


def write_record(file: Path, record: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Write a record whole, or leave what stood there.

    Args:
        file: The file.
        record: Plain values.
        indent: Of its lines; None writes all in one.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    text = json.dumps({**record, "digest": _BLANK}, indent=indent) + "\n"
    before, _, after = text.rpartition(_BLANK)
    write_atomic(file, before + _digest(text) + after)


def read_record(file: Path, *, needed: bool = False) -> dict[str, Any]:
    """The content of a record.

    Args:
        file: The file.
        needed: Whether it must have a digest; without, a record of an earlier version is not checked.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    return parse_record(file.read_bytes(), needed=needed)


def parse_record(content: bytes, *, needed: bool = False) -> dict[str, Any]:
    """As `read_record`, of what a file holds."""
    text = content.decode()
    try:
        record = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    digest = record.pop("digest", None)
    if digest is None and not needed:
        return record
    before, _, after = text.rpartition(str(digest))
    if _digest(before + _BLANK + after) != digest:
        raise ValueError("its digest is another one")
    return record


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=_BYTES).hexdigest()
