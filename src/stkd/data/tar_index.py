"""What tar files hold, as WebDataset lays samples out in them: found from the headers alone, nothing is unpacked."""

from __future__ import annotations

import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from .decode import image_suffixes
from .decoded_cache import cached
from .digest import fingerprint, state_of
from .shards import Label

__all__ = ["LABEL_FIELDS", "TarIndex", "index_tars"]

LABEL_FIELDS = ("label", "cls", "class", "category", "target")
"""What a label is called in a .json member."""

_VERSION = 1
"""Raised when an index is made otherwise than before, so that old cache entries are not used."""

_KEY = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<ending>[^/]+)", re.DOTALL)
"""A sample's key ends at the first dot of the file's name."""

_LABELS = ("cls", "json")
_LONGEST, _LONGEST_NAME = 1 << 20, 1000
_BLOCK = 512


@dataclass(frozen=True)
class TarIndex:
    """What tar files hold.

    Attributes:
        names: Of the images, that of the tar file first.
        labels: Their classes.
        rows: int64 (N, 3), of each image the number of its tar file, its first byte there, and its length in bytes.
        problems: Why a tar file or a sample cannot be used, in words that follow its name.
        left: Members that are no part of a sample, by the reason.
    """

    names: Sequence[str]
    labels: Sequence[Label]
    rows: NDArray[np.int64]
    problems: dict[str, str]
    left: dict[str, tuple[str, ...]]


def index_tars(root: Path, names: Sequence[str]) -> TarIndex:
    """The index of tar files, from the cache or made now.

    Args:
        root: Folder that the names are relative to.
        names: Of the tar files.

    Raises:
        StkdError: One cannot be read.
    """
    state, settled = state_of(root, names)
    if not settled:
        return _index(root, names)

    def build() -> dict[str, NDArray[Any]]:
        made = _index(root, names)
        text = json.dumps([made.names, made.labels, made.problems, made.left])
        return {"rows": made.rows, "samples": np.frombuffer(text.encode(), np.uint8)}

    stored = cached(fingerprint("tar", _VERSION, state, sorted(image_suffixes())), ("rows", "samples"), build)
    images, labels, problems, left = json.loads(stored["samples"].tobytes())
    return TarIndex(images, labels, np.array(stored["rows"]), problems, {r: tuple(some) for r, some in left.items()})


class _Image(NamedTuple):
    """An image, its class, whether a label lies beside it, and where it lies."""

    name: str
    label: Label
    labelled: bool
    row: tuple[int, int, int]


def _index(root: Path, names: Sequence[str]) -> TarIndex:
    images: list[_Image] = []
    problems: dict[str, str] = {}
    left: defaultdict[str, list[str]] = defaultdict(list)
    for number, name in enumerate(names):
        images += _Tar(root / name, name, problems, left).images(number)
    if any(image.labelled for image in images):
        problems |= {i.name: "has no label beside it (.cls or .json)" for i in images if not i.labelled}
        images = [image for image in images if image.labelled]
    rows = np.array([image.row for image in images], np.int64).reshape(-1, 3)
    reasons = {reason: tuple(some) for reason, some in left.items()}
    return TarIndex([i.name for i in images], [i.label for i in images], rows, problems, reasons)


@dataclass
class _Sample:
    """The members of one key.

    Attributes:
        images: Name, first byte and length of each.
        labels: By their ending.
        problem: What is wrong with it, in words that follow its name.
    """

    images: list[tuple[str, int, int]] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    problem: str | None = None


class _Tar:
    """A tar file that is read once.

    Args:
        file: The file.
        name: What messages call it.
        problems, left: Get what cannot be used, and what is no part of a sample.
    """

    def __init__(self, file: Path, name: str, problems: dict[str, str], left: defaultdict[str, list[str]]) -> None:
        self.file, self.name, self.problems, self.left = file, name, problems, left
        self._suffixes = frozenset(suffix[1:] for suffix in image_suffixes())
        self._samples: dict[str, _Sample] = {}

    def images(self, number: int) -> Iterator[_Image]:
        """Those that can be used; the tar file has a number in the index.

        Raises:
            StkdError: It cannot be read.
        """
        self._read()
        for key, sample in self._samples.items():
            if not sample.images:
                if sample.labels:
                    self.problems[f"{self.name}/{key}"] = "has a label and no image"
                continue
            name, start, length = sample.images[0]
            known = [label for ending in _LABELS if (label := sample.labels.get(ending)) is not None]
            if len(sample.images) > 1:
                self.problems[name] = f"has another image of the same key beside it, {sample.images[1][0]}"
            elif sample.problem is not None or length == 0:
                self.problems[name] = sample.problem or "has zero bytes"
            else:
                yield _Image(name, known[0] if known and known[0] != -1 else None, bool(known), (number, start, length))

    def _read(self) -> None:
        """Read the headers to the end, or as far as it goes."""
        try:
            size = self.file.stat().st_size
            with self.file.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in _members(tar):
                    if member.offset_data + member.size > size:
                        break
                    self._take(member, stream)
                # tarfile takes a header that it cannot read for the end
                stream.seek(tar.offset)
                if stream.read(_BLOCK) != bytes(_BLOCK):
                    self.problems[self.name] = "is cut off or damaged before its end"
        except tarfile.TarError as error:
            reason = " ".join(str(error).split())
            self.problems[self.name] = f"is damaged, compressed or no tar file ({reason})"
        except OSError as error:
            raise StkdError(f"{self.file} cannot be read ({error.strerror}); check its permissions") from None

    def _take(self, member: tarfile.TarInfo, stream: BinaryIO) -> None:
        name = _printable(member.name)
        shown = f"{self.name}/{name}"
        if member.isdir():
            return
        if (reason := _unsafe(member)) is not None:
            self.problems[shown] = reason
            return
        name = re.sub(r"^(\./+)+", "", name)
        parts = _KEY.fullmatch(name)
        if name.rpartition("/")[2].startswith("."):
            self.left["hidden"].append(shown)
        elif parts is None:
            self.left["no ending"].append(shown)
        else:
            sample, ending = self._samples.setdefault(parts["key"], _Sample()), parts["ending"].lower()
            if ending in self._suffixes:
                sample.images.append((shown, member.offset_data, member.size))
            elif ending in _LABELS:
                self._take_label(sample, ending, member, stream)
            elif ending.rpartition(".")[2] in self._suffixes:
                self.left[f"an image with more than one dot in its name (.{ending})"].append(shown)

    def _take_label(self, sample: _Sample, ending: str, member: tarfile.TarInfo, stream: BinaryIO) -> None:
        if ending in sample.labels:
            sample.problem = f"has its .{ending} twice"
        stream.seek(member.offset_data)  # tarfile goes back to its own place
        content = stream.read(min(member.size, _LONGEST + 1))
        try:
            sample.labels[ending] = _label(content, ending)
        except ValueError as error:
            sample.problem = f"has a .{ending} that is no label ({error})"


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members in order; none is kept, so that a file may hold any number of them."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        yield member


def _unsafe(member: tarfile.TarInfo) -> str | None:
    """Why a member is no plain file at a plain place, in words that follow its name."""
    if member.issym() or member.islnk():
        return "is a link"
    if member.name.startswith(("/", "\\")) or re.match("[A-Za-z]:", member.name):
        return "has an absolute path"
    if ".." in re.split(r"[/\\]", member.name):
        return "has '..' in its path"
    return None if member.isreg() and not member.issparse() else "is no plain file"


def _label(content: bytes, ending: str) -> Label:
    """The label in a member; None where a .json has none.

    Raises:
        ValueError: It is no label.
    """
    if len(content) > _LONGEST:
        raise ValueError("it is longer than 1 MB")
    try:
        text = content.decode("utf-8-sig").strip()
        value: Any = json.loads(text) if ending == "json" else text
    except (ValueError, RecursionError):
        raise ValueError("no JSON" if ending == "json" else "no text in UTF-8") from None
    if isinstance(value, dict):
        value = next((value[name] for name in LABEL_FIELDS if name in value), None)
        if value is None:
            return None
    if isinstance(value, str) and re.fullmatch("[+-]?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return value
    raise ValueError("neither a number nor a name")


def _printable(name: str) -> str:
    """A name of any bytes, as text that can be written out."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
