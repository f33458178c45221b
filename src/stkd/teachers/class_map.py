"""Which output of a teacher stands for which class of a data set: by name, by WordNet id, or as a file says."""

from __future__ import annotations

import csv
import difflib
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import StkdError, unknown
from ..core.files import write_atomic
from ..data.decoded_cache import cache_folder
from ..data.digest import fingerprint
from ..models.class_names import places, same, spelt_alike
from ..models.wordnet import described, wordnet_places
from .classes import text_of

__all__ = ["ClassMap", "class_map", "read_class_map"]

_log = logging.getLogger(__name__)

_SHOWN = 3


@dataclass(frozen=True)
class ClassMap:
    """Where the classes of a data set are among a teacher's outputs.

    Attributes:
        positions: One a class of the data set.
        by_wordnet_id: Number of classes that were found by WordNet id, as their names are other ones.
        by_file: Number of classes whose place a file gave.
    """

    positions: tuple[int, ...]
    by_wordnet_id: int = 0
    by_file: int = 0

    @property
    def how(self) -> str:
        """In words."""
        ways = {"by the class map": self.by_file, "by WordNet id": self.by_wordnet_id}
        ways["by name"] = len(self.positions) - sum(ways.values())
        used = {way: count for way, count in ways.items() if count}
        return " and ".join(way if len(used) == 1 else f"{count:,} {way}" for way, count in used.items())


def class_map(own: Sequence[str], wanted: Sequence[str], given: Mapping[str, str] | None = None) -> ClassMap:
    """Find each class of a data set among a teacher's.

    Args:
        own: The teacher's class names, in the order of its outputs.
        wanted: Those of the data set.
        given: For some classes of the data set the teacher's name for it, or the number of its output from 0.

    Raises:
        StkdError: The teacher does not know one, or a class was given a place that there is not.
    """
    by_file = {} if given is None else _given_places(own, wanted, given)
    named = places(own, wanted)
    found = [by_file.get(name, place) for name, place in zip(wanted, named, strict=True)]
    by_id = 0
    if -1 in found:
        for label, place in enumerate(wordnet_places(own, wanted)):
            if found[label] < 0 <= place:
                found[label], by_id = place, by_id + 1
    if -1 in found:
        raise _strangers(own, wanted, found)
    if by_file or by_id:
        _check_apart(wanted, found)
    return ClassMap(tuple(found), by_id, len(by_file))


def read_class_map(path: Path) -> dict[str, str]:
    """A class map from a text file: lines of two columns, a class of the data set and the teacher's name for it.

    Columns are parted by a tab or a comma; a name with commas stands in double quotes. Lines that begin with # and
    classes without a second column are passed over.

    Raises:
        StkdError: The file cannot be read, or a line has another form or a class that was there before.
    """
    try:
        lines = text_of(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError):
        raise StkdError(f"cannot read the class map {path}; give a text file of lines 'class,teacher class'") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        row = line.split("\t") if "\t" in line else next(csv.reader([line], skipinitialspace=True))
        if len(row) != 2 or not row[0].strip():
            raise StkdError(
                f"{path}, line {number} is not 'class,teacher class'; put names with commas in double quotes"
            )
        name, other = same(row[0]), row[1].strip()
        if name in found:
            raise StkdError(f"{path}, line {number}: class {name!r} is there twice; leave one of its lines")
        if other:
            found[name] = other
    if not found:
        raise StkdError(f"{path} maps no class; give lines of 'class,teacher class'")
    return found


def _given_places(own: Sequence[str], wanted: Sequence[str], given: Mapping[str, str]) -> dict[str, int]:
    """Where the classes are whose place was given, by their names in the data set."""
    names = {same(name): name for name in wanted}
    for name in given:
        if name not in names:
            raise unknown("class in the class map", name, wanted)
    found = {}
    targets = list(given.values())
    for name, place, by_id in zip(given, places(own, targets), wordnet_places(own, targets), strict=True):
        target = given[name]
        number = int(target) if target.isdecimal() and int(target) < len(own) else -1
        at = next((at for at in (place, number, by_id) if at >= 0), -1)
        if at < 0:
            raise unknown(f"class of the teacher, for {name!r} in the class map,", target, own)
        found[names[name]] = at
    return found


def _check_apart(wanted: Sequence[str], found: Sequence[int]) -> None:
    first: dict[int, str] = {}
    for name, place in zip(wanted, found, strict=True):
        if place in first:
            raise StkdError(
                f"{first[place]!r} and {name!r} are one class to the teacher (output {place}), which cannot tell them "
                "apart; give each its own in --teacher-class-map, or a new head with --teacher-probe true"
            )
        first[place] = name


def _strangers(own: Sequence[str], wanted: Sequence[str], found: Sequence[int]) -> StkdError:
    """The error for classes that the teacher does not know; the lists are written to a file that can be completed."""
    strange = [name for name, place in zip(wanted, found, strict=True) if place < 0]
    near = {name: _nearest(own, name) for name in strange[:_SHOWN]}
    shown = ", ".join(f"{name!r}" + (f" (nearest: {near[name]!r})" if near[name] else "") for name in near)
    more = ", ..." if len(strange) > _SHOWN else ""
    alike = spelt_alike(own, strange[0])
    hint = f"; it has {alike!r}, which is spelt otherwise" if alike is not None else ""
    file = _written(own, wanted, found)
    lists = f" (both lists: {file})" if file is not None else ""
    return StkdError(
        f"the teacher has {len(own):,} classes, the data set {len(wanted):,}, and the teacher does not know "
        f"{len(strange):,} of them: {shown}{more}{hint}; name the teacher's classes with --teacher-classes FILE, say "
        f"which is which with --teacher-class-map FILE{lists}, or give it a new head with --teacher-probe true"
    )


def _nearest(own: Sequence[str], name: str) -> str | None:
    """The teacher's class that is most alike, with ImageNet's words where it is called by a number."""
    words = {described(other, len(own)): other for other in own}
    parts = {part.strip(" )").lower(): text for text in words for part in text.replace("(", ",").split(",")}
    near = difflib.get_close_matches(name.lower().replace("_", " "), parts, n=1, cutoff=0.6)
    return parts[near[0]] if near else None


def _written(own: Sequence[str], wanted: Sequence[str], found: Sequence[int]) -> Path | None:
    """A class map to be completed, and the teacher's classes below it; None where it cannot be written."""
    text = io.StringIO()
    text.write("# class,teacher class: complete the second column and give this file as --teacher-class-map\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows((name, own[place] if place >= 0 else "") for name, place in zip(wanted, found, strict=True))
    text.write("# the teacher's classes, by the numbers of its outputs, which may stand in the second column too:\n")
    text.writelines(f"# {place} {described(name, len(own))}\n" for place, name in enumerate(own))
    file = cache_folder() / "class-maps" / f"{fingerprint(list(own), list(wanted))[:12]}.csv"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text.getvalue())
    except OSError:
        return None
    return file
