"""Pickles of others: none may ask for more memory than it fills."""

from __future__ import annotations

import os
import pickle
import pickletools
from types import SimpleNamespace
from typing import Any, BinaryIO

__all__ = ["BoundedUnpickler"]

_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")


class BoundedUnpickler(pickle.Unpickler):
    """An unpickler that looks through a pickle before it reads it.

    Python's own makes room for as many remembered objects as the highest number that a pickle names, up to 2^32 for one
    of eight bytes, and for texts and arrays as long as they are said to be.

    Args:
        file: Where the pickle begins; it must be seekable.
        options: Of `pickle.Unpickler`.

    Raises:
        pickle.UnpicklingError: The pickle is cut short, or names an object that it cannot have.
    """

    def __init__(self, file: BinaryIO, **options: Any) -> None:
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
        # a text is said to be up to 2^64 bytes long, for which room would be made before they are read
        whole: Any = SimpleNamespace(
            read=lambda size: file.read(min(size, end - file.tell())), readline=file.readline, tell=file.tell
        )
        try:
            for number, (code, argument, _) in enumerate(pickletools.genops(whole)):
                if code.name in _MEMO and argument is not None and argument > number:
                    raise pickle.UnpicklingError(f"it names object {argument} before there are as many")
        except ValueError as error:
            raise pickle.UnpicklingError(f"it is damaged or cut short ({error})") from None
        file.seek(start)
        super().__init__(file, **options)
