"""Image files that lie inside larger files, such as the members of a tar archive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Member", "Members"]


@dataclass(frozen=True)
class Member:
    """An image file inside a larger file; it is read as a `Path` is.

    Attributes:
        file: The larger file.
        start: Its first byte there.
        length: In bytes.
        name: What messages call it.
    """

    file: Path
    start: int
    length: int
    name: str

    def read_bytes(self) -> bytes:
        """Its content.

        Raises:
            OSError: The larger file cannot be read, or ends before.
        """
        with open(self.file, "rb") as file:
            file.seek(self.start)
            content = file.read(self.length)
        if len(content) < self.length:
            raise OSError(f"{self.file.name} ends in the middle of it")
        return content

    def stat(self) -> os.stat_result:
        """The state of the larger file."""
        return self.file.stat()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Members:
    """Where the images of a set lie inside larger files.

    Attributes:
        root: Folder that those are relative to.
        files: The larger files.
        rows: int64 (N, 3), of each image the number of its file, its first byte there, and its length in bytes.
    """

    root: Path
    files: tuple[str, ...]
    rows: NDArray[np.int64]

    def at(self, position: int, name: str) -> Member:
        """An image, under the name that messages are to have."""
        file, start, length = self.rows[position].tolist()
        return Member(self.root / self.files[file], start, length, name)

    def take(self, index: Sequence[int] | NDArray[np.int64]) -> Members:
        """Some of the images, in the order of `index`."""
        return replace(self, rows=self.rows[np.asarray(index, np.int64)])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Members)
            and (self.root, self.files) == (other.root, other.files)
            and np.array_equal(self.rows, other.rows)
        )
