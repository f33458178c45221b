"""A teacher's logits on disk: the format.

A cache is a folder. `header.json` says what the logits are of, and each `epoch-00000.npy` is a shard: an array of one
record a step, which holds the logits of that step's rows, whole or as the k largest log-probabilities and the mean of
the rest. Shards are mapped into memory, so that a step's logits are views of the file. `manifest.json` holds their
digests.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import NDArray
from torch import Tensor

from ..core import manifest
from ..core.errors import StkdError
from ..core.manifest import Damaged

__all__ = [
    "Header",
    "damaged_shards",
    "map_shard",
    "need_header",
    "pack",
    "read_header",
    "shard_file",
    "unpack",
    "write_header",
    "write_shard",
]

_HEADER = "header.json"
_NUMBER = {"fp16": "<f2", "fp32": "<f4"}


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a cache holds.

    Attributes:
        samples: All that decides the virtual samples: digest of the data, augmentation, mixing, batch size, seed.
        teacher: Digest of the teacher.
        teacher_name: Name of its model.
        precision: Of the teacher's arithmetic.
        classes: Class names, position = logit.
        steps: Batches in an epoch.
        rows: R, virtual samples in a batch.
        epochs: Number of shards, once it is complete.
        top_k: Logits kept of each row; None keeps all, as they are.
        dtype: Number format of the logits.
        images: The data in words, for messages; empty in caches of earlier versions.
        engines: What ran each model of the teacher, as `teachers.engines.TeacherEngine` records it.
    """

    samples: dict[str, Any]
    teacher: str
    teacher_name: str
    precision: str
    classes: tuple[str, ...]
    steps: int
    rows: int
    epochs: int
    top_k: int | None
    dtype: Literal["fp16", "fp32"]
    images: str = ""
    engines: tuple[dict[str, Any], ...] = ()

    @property
    def record(self) -> np.dtype[np.void]:
        """One step of a shard."""
        number, classes = _NUMBER[self.dtype], len(self.classes)
        if self.top_k is None:
            return np.dtype([("logits", number, (self.rows, classes))])
        kept, place = (self.rows, self.top_k), np.min_scalar_type(classes - 1)
        return np.dtype([("top", number, kept), ("tail", number, (self.rows,)), ("place", place, kept)], align=True)

    @property
    def nbytes(self) -> int:
        """Size of all shards."""
        return self.epochs * self.steps * self.record.itemsize

    def check(self, other: Header, folder: Path) -> None:
        """See that what is asked for is what a cache holds, but for the number of epochs.

        Args:
            other: What is asked for.
            folder: The cache with this header.

        Raises:
            StkdError: It is not; names the first thing that differs.
        """
        here, there = (_compared(header) for header in (self, other))
        for name in {**here, **there}:
            if name not in _NOT_COMPARED and here.get(name) != there.get(name):
                made, asked = _difference(name, self, other)
                raise StkdError(f"{folder} was made with {made}, here {asked}; give the same, or make another cache")


def _compared(header: Header) -> dict[str, Any]:
    said = {**header.samples, **dataclasses.asdict(header)}
    return {**said, **{name: value for name, value in _UNSAID.items() if name not in said}}


_UNSAID = {
    "mix_until": "all epochs",
    "largest_first": False,
    "strong": False,
    "auto_augment": "none",
    "erasing": "none",
}
"""What a cache does not say where it is as it was before there was a choice."""

_NOT_COMPARED = ("samples", "epochs", "teacher_name", "images", "engines")

_AUGMENTATIONS = {
    "none": "no augmentation",
    "crop4": "crops of images padded by 4 pixels, and flips",
    "crop8": "crops of images padded by 8 pixels, and flips",
    "resized": "random-resized-crops, and flips",
}

_LABELS = {
    "data_seed": "the seed (--seed or --data-seed)",
    "precision": "the teacher's precision",
    "steps": "batches in an epoch:",
    "rows": "virtual samples in a batch:",
    "strong": "strong views of the images:",
}
"""Names of what differs, where they are not those of an option."""


def _difference(name: str, made: Header, asked: Header) -> tuple[str, str]:
    """What a cache was made with and what is asked for, in words, where they differ in something."""
    before, now = (_compared(header).get(name) for header in (made, asked))
    if name == "data":
        other = f"it is {asked.images}"
        if made.images == asked.images:
            other = "they are as many, but other images, or in another split or order"
        return made.images or "other images", other
    if name == "teacher":
        one, other = (f"the teacher {h.teacher_name or 'without a name'}" for h in (made, asked))
        return one, "it has other weights, classes or normalisation" if one == other else f"it is {other}"
    if name == "normalisation":
        return f"the normalisation {_mean_std(before)}", f"it is {_mean_std(now)} (--norm)"
    if name == "augmentation":
        return f"{_AUGMENTATIONS.get(str(before), before)} (augmentation)", f"it is {_AUGMENTATIONS.get(str(now), now)}"
    if name == "top_k":
        return _kept(before), f"it is {_kept(now)}"
    if name == "classes":
        return f"the classes {_shown(before)}", f"they are {_shown(now)}"
    label = _LABELS.get(name) or f"--{name.replace('_', '-')}"
    return f"{label} {_shown(before)}", f"it is {_shown(now)}"


def _mean_std(value: Any) -> str:
    mean, std = (", ".join(f"{number:.4g}" for number in numbers) for numbers in value)
    return f"mean {mean} and standard deviation {std}"


def _kept(top_k: int | None) -> str:
    return "all logits" if top_k is None else f"--top-k {top_k}"


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, tuple | list):
        text = f"{len(value)}: {', '.join(map(str, value))}"
    return text if len(text) <= 60 else f"{text[:60]}..."


def write_header(folder: Path, header: Header) -> None:
    """Write the header of a cache."""
    manifest.write(folder / _HEADER, json.dumps({"format": 1, **dataclasses.asdict(header)}, indent=1))


def read_header(folder: Path) -> Header | None:
    """The header of a cache; None where there is no cache.

    Raises:
        StkdError: It is damaged, or of a later version.
    """
    try:
        fields = json.loads(manifest.read(folder / _HEADER))
        if fields.pop("format") != 1:
            raise StkdError(f"{folder} was written by a later version of stkd; make the cache again, or update stkd")
        samples = dict(fields["samples"])
        samples.setdefault("drop_last", True)  # as it was before there was a choice
        if "engines" not in fields:
            fields |= _as_named_now(fields["precision"])
        lists = {name: tuple(fields[name]) for name in ("classes", "engines")}
        return Header(**{**fields, **lists, "samples": samples})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Damaged):
        raise StkdError(f"{folder / _HEADER} is damaged; delete {folder} and make the cache again") from None


def _as_named_now(precision: str) -> dict[str, Any]:
    """Precision and engines of a cache whose version did not record engines and called precisions as Fabric does."""
    names = {"32-true": "32", "bf16-mixed": "bf16", "16-mixed": "16"}
    models = precision.split(", ")
    engines = [
        {"precision": names.get(own, own), "engine": "openvino" if own in ("bf16", "int8") else "torch"}
        for own in models
    ]
    return {"precision": ", ".join(str(own["precision"]) for own in engines), "engines": engines}


def need_header(folder: Path) -> Header:
    """The header of a cache that must be there.

    Raises:
        StkdError: There is none, or it is damaged.
    """
    header = read_header(folder)
    if header is None:
        raise StkdError(
            f"{folder} is no cache of a teacher; make it with 'stkd cache --out {folder}' and these options"
        )
    return header


def shard_file(folder: Path, epoch: int) -> Path:
    """Where the logits of an epoch are."""
    return folder / f"epoch-{epoch:05d}.npy"


def map_shard(folder: Path, epoch: int, header: Header) -> NDArray[np.void]:
    """The records (steps,) of an epoch, mapped into memory once the whole file is found to be what was written.

    Raises:
        OSError: It cannot be read.
        Damaged: It is not.
        StkdError: The manifest of the cache is damaged.
    """
    file = shard_file(folder, epoch)
    damaged = Damaged(f"{file} is damaged; run its 'stkd cache' command again, which writes it anew")
    try:
        manifest.check(file)
    except Damaged:
        raise damaged from None
    try:
        # copy-on-write, as torch wants writable memory; nobody writes
        shard: NDArray[np.void] = np.load(file, mmap_mode="c", allow_pickle=False)
    except Exception:  # numpy's reader of headers lets through what Python's tokenizer says of damaged ones
        raise damaged from None
    if shard.dtype != header.record or shard.shape != (header.steps,):
        raise damaged
    return shard


def damaged_shards(folder: Path, epochs: Sequence[int], header: Header) -> list[int]:
    """Which epochs have a shard that is damaged; all are read.

    Raises:
        OSError: One cannot be read.
        StkdError: The manifest of the cache is damaged.
    """

    def damaged(epoch: int) -> bool:
        try:
            map_shard(folder, epoch, header)
        except Damaged:
            return True
        return False

    with ThreadPoolExecutor(cpu_count()) as pool:
        return [epoch for epoch, found in zip(epochs, pool.map(damaged, epochs), strict=True) if found]


def pack(logits: Tensor, header: Header) -> NDArray[np.void]:
    """A step's record.

    With `top_k`, log-probabilities at T = 1 are kept instead of logits, which differ by a number that softmax does not
    see; the probability of all other classes is spread evenly over them, which makes each e^tail.

    Args:
        logits: (R, C), finite.
        header: What the cache holds.

    Raises:
        StkdError: A number is not finite in the cache's number format.
    """
    record = np.zeros((), header.record)
    with np.errstate(over="ignore"):
        if header.top_k is None:
            record["logits"] = logits.float().cpu().numpy()
        else:
            log_p = logits.float().log_softmax(1)
            top, place = log_p.topk(header.top_k, dim=1)
            rest = log_p.scatter(1, place, -torch.inf).logsumexp(1)
            record["top"], record["place"] = top.cpu().numpy(), place.cpu().numpy()
            record["tail"] = (rest - np.log(log_p.shape[1] - header.top_k)).cpu().numpy()
    numbers = [record[name] for name in header.record.names or () if name != "place"]
    if not all(np.isfinite(n).all() for n in numbers):
        raise StkdError(
            f"the teacher's logits are not finite in {header.dtype}; check its weights, or take --dtype fp32"
        )
    return record


def unpack(record: NDArray[np.void] | np.void, classes: int, device: torch.device) -> Tensor:
    """Logits float32 (R, C) of a step, on the device."""

    def part(name: str) -> Tensor:
        return torch.from_numpy(record[name]).to(device, non_blocking=True)

    if "logits" in (record.dtype.names or ()):
        return part("logits").float()
    top, place = part("top").float(), part("place").long()
    return part("tail").float()[:, None].repeat(1, classes).scatter_(1, place, top)


def write_shard(folder: Path, epoch: int, header: Header, records: Any) -> None:
    """Write the records of an epoch, an iterable, as they come.

    Raises:
        OSError: The disk is full.
    """
    form = {"descr": np.lib.format.dtype_to_descr(header.record), "fortran_order": False, "shape": (header.steps,)}
    with manifest.writing(shard_file(folder, epoch)) as file:
        np.lib.format.write_array_header_1_0(file, form)
        for record in records:
            file.write(record.tobytes())
