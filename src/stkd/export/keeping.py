"""Where an exported file goes: into a folder of its own until it is checked, then whole into its place."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..core import manifest
from ..core.errors import StkdError
from ..core.files import atomic_file, digest_file, remove_temporaries
from ..core.locks import lock_folder
from .format import Format

__all__ = ["announce", "announced", "claimed", "keep", "need_room", "unfinished"]

_UNFINISHED = ".export-"


def need_room(format: Format, target: Path, force: bool) -> None:
    """Check that nothing stands where an export goes, or nothing that may not be replaced.

    Args:
        format: The format.
        target: The file, or the folder.
        force: Whether an earlier export is replaced.

    Raises:
        StkdError: Something stands there.
    """
    taken = next((part for part in (target, *format.parts(target)) if part.exists()), None)
    if taken is None:
        return
    if not force:
        raise StkdError(f"{taken} exists; give --force to replace it, or another --out")
    if format.folder and (stranger := _stranger(target, set(format.parts(target)))):
        raise StkdError(f"{target} is not replaced, since {stranger} is not of an export; give another --out")


def _stranger(folder: Path, parts: set[Path]) -> Path | None:
    """A file in a folder that would be lost with it."""
    inside = folder.rglob("*") if folder.is_dir() else [folder]
    return next((path for path in inside if path not in parts and not path.is_dir()), None)


@contextlib.contextmanager
def claimed(exports: Path) -> Iterator[None]:
    """A context in which no other process exports to a folder; what one left that was killed goes."""
    new = not exports.exists()
    lock = lock_folder(exports)
    try:
        for left in exports.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        remove_temporaries(exports)
        yield
    except BaseException:
        if new:
            (exports / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                exports.rmdir()
        raise
    finally:
        lock.release()


@contextlib.contextmanager
def unfinished(exports: Path) -> Iterator[Path]:
    """A folder for files that are not checked yet; gone afterwards.

    Args:
        exports: The folder that it is made in, which is claimed.
    """
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=exports) as inside:
        yield Path(inside)


def announce(format: Format, file: Path, target: Path) -> None:
    """Enter a checked export in the manifest of the folder that it is about to be put into.

    Args:
        format: The format.
        file: Where it was written.
        target: Its place.
    """
    places = format.parts(target)
    if len(places) > 1 and not format.folder:  # `keep` takes the last one away first
        manifest.announce(target.parent, {_name(places[-1], target): None})
        places[-1].unlink(missing_ok=True)
    parts = zip(format.parts(file), places, strict=True)
    manifest.announce(target.parent, {_name(place, target): digest_file(part) for part, place in parts})


def announced(format: Format, target: Path) -> bool:
    """Whether an export, or a part of one, stands in a place as it was announced.

    Args:
        format: The format.
        target: The place.
    """
    standing = [part for part in format.parts(target) if part.exists()]
    states = (manifest.states(target.parent) or {}) if standing else {}
    return bool(standing) and all(states.get(_name(part, target)) == "right" for part in standing)


def _name(part: Path, target: Path) -> str:
    """Of a part of an export, in the manifest."""
    return part.relative_to(target.parent).as_posix()


def keep(format: Format, file: Path, target: Path) -> None:
    """Put a checked export in its place.

    Args:
        format: The format.
        file: Where it was written.
        target: Its place; what stands there is replaced.
    """
    if format.folder:
        _keep_folder(file, target.resolve())
        return
    parts = format.parts(file)
    if len(parts) > 1:  # so that none is met without the others
        (target.parent / parts[-1].name).unlink(missing_ok=True)
    for part in parts:
        with part.open("rb") as source, atomic_file(target.parent / part.name) as place:
            shutil.copyfileobj(source, place)


def _keep_folder(folder: Path, target: Path) -> None:
    new, old = (target.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}") for _ in range(2))
    try:
        shutil.copytree(folder, new)  # the target may be on another disk
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
