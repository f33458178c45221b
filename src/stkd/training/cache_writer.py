"""Writing a teacher's logits to disk, once, for any number of students."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import track
from torch import nn

from ..core import manifest
from ..core.config import CacheConfig
from ..core.errors import StkdError
from ..core.files import disk_full, remove_temporaries
from ..core.locks import lock_folder
from ..core.processes import check_alone
from ..data import DataSet
from ..data.samples import describe_images, describe_samples
from ..teachers.cache import Header, damaged_shards, pack, read_header, shard_file, write_header, write_shard
from ..teachers.engines import TeacherEngine
from ..teachers.probed import keep_heads
from .choice import Choice
from .engines import Known
from .session import Job, Session, open_session
from .session_check import check_session

__all__ = ["Cached", "run_cache"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cached:
    """What came of writing a cache.

    Attributes:
        out: The cache.
        header: What it holds.
        written: Epochs that this call wrote; the others had been there.
    """

    out: Path
    header: Header
    written: int


def run_cache(
    config: CacheConfig, *, data: DataSet | None = None, teacher: nn.Module | None = None, progress: bool = True
) -> Cached:
    """Write a cache as a config says, or what it still lacks; `data` and `teacher` stand in for what it names.

    Raises:
        StkdError: An option or a file is wrong, the folder holds something else, or the disk is full.
    """
    job = Job.of(config)
    if not job.method.uses_teacher:
        raise StkdError(f"method {config.method!r} learns from no teacher; give the method of the students")
    if config.teacher_cache is not None:
        raise StkdError("a cache is written from a teacher; leave out --teacher-cache")
    if config.precision == "64":
        raise StkdError("a cache holds logits of 32 bits at most; leave out --precision 64")
    check_alone(config.devices)
    _refuse_foreign(config.out)
    with open_session([job], data=data, teacher=teacher, students=False) as session:
        lock = lock_folder(config.out)
        try:
            check_session(session, [config.out])
            session.choose_engines(_known(config))
            return _complete(config, _header(config, session), session, progress)
        finally:
            lock.release()


def _known(config: CacheConfig) -> Known:
    """What ran the teacher of a cache that is to be completed, where options do not ask for another precision."""
    held = read_header(config.out)
    if held is None or not held.engines:
        return Known()
    engines = tuple(TeacherEngine.of(record) for record in held.engines)
    free = config.teacher_precision == "auto" and all(config.precision in ("auto", own.precision) for own in engines)
    changed = ["teacher_engine"] if config.teacher_engine != "auto" else []
    return Known(kept=Choice(teachers=engines), changed=changed) if free else Known()


def _complete(config: CacheConfig, header: Header, session: Session, progress: bool) -> Cached:
    """Write what a cache lacks."""
    remove_temporaries(config.out)  # of a process that was killed while it wrote
    held = read_header(config.out)
    if held is not None:
        held.check(header, config.out)
    there = [epoch for epoch in range(header.epochs) if shard_file(config.out, epoch).is_file()]
    damaged = damaged_shards(config.out, there, header)
    for epoch in damaged:
        _log.warning("%s is damaged and is written anew", shard_file(config.out, epoch))
    missing = sorted({*range(header.epochs)} - {*there} | {*damaged})
    whole = header if held is None else dataclasses.replace(header, epochs=max(header.epochs, held.epochs))
    if missing:
        _check_space(config.out, header, len(missing))
        _log.info("%s%s", _size_and_gain(config, header), _rest(header, missing))
        write_header(config.out, whole)
        keep_heads(session.teacher, config.out)
        _write(config.out, header, missing, session, progress)
    return Cached(config.out, whole, len(missing))


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StkdError(f"{folder} is a file; give --out a directory")
    if read_header(folder) is None and not manifest.unused(folder):
        raise StkdError(f"{folder} is not empty and is no cache of a teacher; give --out a new directory")


def _header(config: CacheConfig, session: Session) -> Header:
    data, mix, loader, classes = session.data, session.mix, session.loader, session.data.classes
    if config.top_k is not None and config.top_k >= len(classes):
        raise StkdError(f"--top-k {config.top_k} keeps all of {len(classes)} classes; leave it out, or give fewer")
    assert session.teacher is not None
    return Header(
        samples=describe_samples(config, data, mix),
        teacher=session.teacher.fingerprint(),
        teacher_name=session.teacher.name,
        precision=", ".join(str(model["precision"]) for model in session.teacher.record),
        classes=classes,
        steps=loader.steps,
        rows=mix.rows(min(config.batch_size, len(data.train))),
        epochs=min(config.epochs, config.sample_epochs or config.epochs),
        top_k=config.top_k,
        dtype=config.dtype,
        images=describe_images(data),
        engines=tuple(TeacherEngine.of(model).record() for model in session.teacher.record),
    )


def _check_space(folder: Path, header: Header, epochs: int) -> None:
    needed, free = epochs * header.nbytes // header.epochs, shutil.disk_usage(folder).free
    if needed > free:
        raise StkdError(
            f"the cache needs {decimal(needed)} more, and {folder} has {decimal(free)} free; free some space, take "
            "--top-k, or go round fewer epochs with --sample-epochs"
        )


def _size_and_gain(config: CacheConfig, header: Header) -> str:
    """Size, and from which student on a cache takes less teacher passes than training with the teacher."""
    kept = f"{len(header.classes)} classes" if header.top_k is None else f"top-{header.top_k}"
    size = f"{header.epochs} epochs x {header.steps * header.rows:,} x {kept} = {decimal(header.nbytes)}"
    if header.epochs < config.epochs:
        return f"{size}, pays from the first student of {config.epochs} epochs on"
    return f"{size}, pays from the second student on"


def _rest(header: Header, missing: Sequence[int]) -> str:
    there = header.epochs - len(missing)
    return f"; {there} epochs are there already" if there else ""


def _write(folder: Path, header: Header, epochs: Sequence[int], session: Session, progress: bool) -> None:
    shown = progress and sys.stderr.isatty()
    console = Console(stderr=True)
    try:
        for epoch in track(epochs, escape(folder.name), console=console, transient=True, disable=not shown):
            write_shard(folder, epoch, header, _records(epoch, header, session))
    except OSError as error:
        if not disk_full(error):
            raise
        raise StkdError(
            f"the disk is full ({folder}); the epochs written so far are kept: free some space and run the same "
            "command again"
        ) from None


def _records(epoch: int, header: Header, session: Session) -> Iterator[NDArray[np.void]]:
    assert session.teacher is not None
    for batch in session.loader.epoch(epoch):
        with session.fabric.autocast():
            logits = session.teacher(batch)
        yield pack(logits, header)
