"""A teacher whose head is a linear probe of the user's own images: for one that was trained on other classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core import manifest
from ..core.errors import StkdError
from ..core.manifest import Damaged
from ..data import UNLABELLED, DataSet, Split
from ..data.decoded_cache import cached
from ..data.digest import fingerprint
from ..data.splits import draw_stratified, take
from ..evaluation.pooled import pooled_features
from ..evaluation.probe import MOST_IMAGES, fit_probe
from ..models.files import ModelInfo
from ..models.heads import head_names, set_head
from .base import Teacher
from .ensemble import Ensemble
from .live import LiveTeacher, digest_of

__all__ = ["KeptHead", "give_probe", "keep_heads", "probe_of", "put_head"]

_log = logging.getLogger(__name__)

_VERSION = 1  # raised when the same features would give another head than before
_KEY = "stkd-probe"


@dataclass(frozen=True)
class KeptHead:
    """A fitted head, and what it was fitted to.

    Attributes:
        weight: float32 (C, D).
        bias: float32 (C,).
        model: Digest of the teacher without its head, and of how it sees images.
        data: Digest of the images, their labels and the names of the classes.
        classes: Class names, position = row.
        said: What was found out when it was fitted: images, held_out, right, strength.
    """

    weight: Tensor
    bias: Tensor
    model: str
    data: str
    classes: tuple[str, ...]
    said: dict[str, Any]


def give_probe(
    teacher: LiveTeacher,
    data: DataSet | ModelInfo,
    *,
    folders: Sequence[Path] = (),
    place: int = 0,
    data_may_differ: bool = False,
    workers: int = 0,
) -> None:
    """Give a teacher a head that is fitted on the training images, in place.

    A head that was kept beside a run is taken, so that the run goes on with the same teacher bit for bit wherever that
    is; otherwise the cache is asked, and at last it is fitted.

    Args:
        teacher: On its device, with a head of as many outputs as there are classes.
        data: The data set. What a student expects is enough where the head was kept.
        folders: Run directories, or folders of a cache, where it may have been kept.
        place: Its place among several teachers.
        data_may_differ: Take a head that was fitted on other images of the same classes.
        workers: Processes that decode images.

    Raises:
        StkdError: The teacher has no features, or there are no images and no kept head.
    """
    model, images = _digest_of_model(teacher), None if isinstance(data, ModelInfo) else _digest_of_images(data)
    kept = next((one for folder in folders if (one := _read(_file(folder, place))) is not None), None)
    if kept is not None and (kept.model, kept.classes) != (model, data.classes):
        kept = None
    if kept is not None and images is not None and kept.data != images and not data_may_differ:
        kept = None
    if kept is None:
        if isinstance(data, ModelInfo) or images is None:
            raise StkdError(f"the head that {teacher.name} was given is gone from its run; run the run's command again")
        kept = _fitted(teacher, data, model, images, workers)
    put_head(teacher, kept, data)
    if isinstance(data, DataSet):
        _log.info("%s: a new head of %d classes, %s", teacher.name, len(data.classes), _words(kept.said))


def probe_of(teacher: LiveTeacher, data: DataSet, *, workers: int = 0) -> KeptHead:
    """A head that is fitted on the training images, or was fitted on the same ones before.

    Args:
        teacher: On its device; it keeps its own head.
        data: The data set.
        workers: Processes that decode images.

    Raises:
        StkdError: The teacher has no features, or there are no images of a class.
    """
    return _fitted(teacher, data, _digest_of_model(teacher), _digest_of_images(data), workers)


def put_head(teacher: LiveTeacher, head: KeptHead, data: DataSet | ModelInfo) -> None:
    """Put a fitted head in the place of a teacher's own.

    Raises:
        StkdError: The teacher's answers are not those of its last linear layer.
    """
    device, module = teacher.device, teacher.module
    sample = teacher.preprocess(torch.zeros(2, data.channels, data.size, data.size, device=device))
    set_head(module, head.weight.to(device), head.bias.to(device), sample)
    module.requires_grad_(False)
    teacher.head = head


def keep_heads(teacher: Teacher | None, folder: Path) -> None:
    """Write the heads that teachers were given into a run directory or the folder of a cache."""
    for place, one in enumerate(_models(teacher)):
        if one.head is not None:
            kept = one.head
            said = {"model": kept.model, "data": kept.data, "classes": kept.classes, "said": kept.said}
            tensors = {"weight": kept.weight.contiguous(), "bias": kept.bias.contiguous()}
            manifest.write(_file(folder, place), safetensors.torch.save(tensors, {_KEY: json.dumps(said)}))


def _digest_of_model(teacher: LiveTeacher) -> str:
    """Of a teacher without its head, and of how it sees images.

    Raises:
        StkdError: It has no linear classifier.
    """
    head, info = set(head_names(teacher.module)), teacher.info
    if not head:
        raise StkdError(f"--teacher-probe gives a teacher a new head, and {teacher.name} has no linear classifier")
    weights = digest_of(teacher.module, without=head)
    return fingerprint(weights, info.channels, info.size, info.mean, info.std, info.interpolation)


def _digest_of_images(data: DataSet) -> str:
    return fingerprint(data.fingerprint, data.classes, data.mean, data.std)


def _models(teacher: Teacher | None) -> Sequence[LiveTeacher]:
    if isinstance(teacher, Ensemble):
        return teacher.teachers
    return [teacher] if isinstance(teacher, LiveTeacher) else []


def _file(folder: Path, place: int) -> Path:
    return folder / f"teacher-head{place + 1 if place else ''}.safetensors"


def _fitted(teacher: LiveTeacher, data: DataSet, model: str, images: str, workers: int) -> KeptHead:
    """A head from the cache, or fitted and put there."""
    key = fingerprint("probe", _VERSION, model, images)

    def build() -> dict[str, np.ndarray[Any, Any]]:
        features, labels = pooled_features(
            teacher.module,
            _sample(data.train),
            data,
            key=fingerprint("features", _VERSION, model, images),
            see=teacher.preprocess,
            device=teacher.device,
            workers=workers,
        )
        probe = fit_probe(features, labels, data.classes)
        numbers = np.array([probe.strength, probe.images, probe.held_out, probe.right])
        return {"weight": probe.weight, "bias": probe.bias, "numbers": numbers}

    stored = cached(key, ("weight", "bias", "numbers"), build)
    strength, count, held_out, right = map(float, stored["numbers"])
    said = {"strength": strength, "images": int(count), "held_out": int(held_out)}
    said |= {"right": right} if held_out else {}
    weight, bias = (torch.from_numpy(np.array(stored[name])) for name in ("weight", "bias"))
    return KeptHead(weight, bias, model, images, data.classes, said)


def _sample(split: Split) -> Split:
    """The labelled images of a split, no more of them than are fitted."""
    labels = split.labels
    known = np.flatnonzero(labels != UNLABELLED)
    if len(known) > MOST_IMAGES:
        known = draw_stratified(labels, MOST_IMAGES, keep=0, rng=np.random.default_rng(0))
    return split if len(known) in (0, len(labels)) else take(split, known)


def _words(said: dict[str, Any]) -> str:
    text = f"fitted on {said['images']:,} training images"
    if "right" in said:
        text += f", is right on {said['right']:.1%} of {said['held_out']:,} that were held out of them"
    return text


def _read(file: Path) -> KeptHead | None:
    """A kept head; None where there is none, or something else, or after a warning it is damaged."""
    try:
        manifest.check(file)
        with safe_open(file, framework="pt") as opened:
            said = json.loads((opened.metadata() or {})[_KEY])
            tensors = {name: opened.get_tensor(name) for name in ("weight", "bias")}
        return KeptHead(
            **tensors, model=said["model"], data=said["data"], classes=tuple(said["classes"]), said=dict(said["said"])
        )
    except Damaged as error:
        _log.warning("%s", error)
        return None
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
