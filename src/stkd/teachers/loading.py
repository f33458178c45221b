"""Live teachers from what options name: models by name, and their weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import models
from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..data import DataSet
from ..models import weights
from ..models.files import ModelInfo, find_weights, read_info
from ..models.published import Published, published
from .classes import read_classes
from .ensemble import Ensemble
from .live import LiveTeacher
from .normalisations import normalisation_of
from .probed import give_probe

__all__ = ["load_teacher", "probe_as_asked", "teacher_of"]

_log = logging.getLogger(__name__)


def load_teacher(
    name: str | None,
    weights_path: Path | None,
    data: DataSet | ModelInfo,
    device: torch.device,
    *,
    key: str | None = None,
    pretrained: bool = False,
    classes: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
    new_head: bool = False,
) -> LiveTeacher:
    """A teacher by name and weights.

    Args:
        name: Model name; may be left out when the weights say it.
        weights_path: A file of weights or a run directory.
        data: The data set it teaches on, or what its student expects.
        device: Where it runs.
        key: Take the weights under this key of the file.
        pretrained: Use the published weights of a timm or torchvision model instead.
        classes: Text file of its class names, one a line, where its weights do not name them.
        mean, std, size: What it was trained with, where its weights do not say it and it is not the same as the data's.
        options: Keyword arguments of the model; None takes those that the weights name.
        new_head: Give it a head of the data's classes with initial weights, whatever classes its own head is for.

    Raises:
        StkdError: Name or weights are missing or do not fit each other.
    """
    file = find_weights(weights_path) if weights_path is not None else None
    info = read_info(file) if file is not None else None
    if file is None and not pretrained:
        raise StkdError("a teacher needs weights: give --teacher-weights FILE or RUN, or --teacher-pretrained")
    if name is None:
        if info is None:
            raise StkdError("--teacher is missing: the weights do not say which model they are for")
        info.check_local()
        name = info.model
    if options is None and info is not None:
        options = info.options
    recorded, options = models.recorded_name(name, options)
    if info is not None and info.model not in (name, recorded):
        raise StkdError(f"the teacher's weights are of {info.model}, not of {name}; give --teacher {info.model}")
    known = info if info is not None else published(name) if pretrained and file is None else None
    named = None
    if file is not None and info is None and classes is None and not new_head:
        named = weights.classes_in(file)
    own = data.classes if new_head else named or _classes(name, known, classes, data)
    pixels = known if known is not None else data
    channels = len(pixels.mean)
    size = size or pixels.size
    module = models.create(
        name,
        num_classes=len(own),
        in_channels=channels,
        image_size=size,
        pretrained=pretrained and file is None,
        options=options,
    )
    if file is not None:
        rows = [-1] * len(own) if new_head else None
        weights.load(module, file, role="teacher", key=key, new_head=new_head, rows=rows)
        if info is None:
            _say_what_is_assumed(file, data, classes or named or new_head, mean or std)
    mean, std = mean or pixels.mean, std or pixels.std
    resizing = (known.crop_pct, known.interpolation) if known is not None else ()
    return LiveTeacher(module, ModelInfo(name, own, channels, size, mean, std, options, *resizing), data, device)


def _classes(
    name: str, known: ModelInfo | Published | None, file: Path | None, data: DataSet | ModelInfo
) -> tuple[str, ...]:
    """Class names in the order of the teacher's outputs: what the user says, else what is known, else the data's.

    Raises:
        StkdError: They are not known, or are not as many as the outputs.
    """
    if file is not None:
        own = read_classes(file)
        if isinstance(known, Published) and len(own) != known.outputs:
            raise StkdError(
                f"{file} names {len(own)} classes, the published weights of {name} have {known.outputs}; "
                "name all of them in the order of the outputs, or leave out --teacher-classes"
            )
        return own
    if isinstance(known, ModelInfo):
        return known.classes
    if known is None:
        return data.classes
    names = known.names_for(data.classes)
    if names is None:
        raise StkdError(
            f"the names of the {known.outputs} classes of {name} are not known; --teacher-pretrained needs "
            "--teacher-classes FILE with the names of its classes, one a line"
        )
    return names


def _say_what_is_assumed(file: Path, data: DataSet | ModelInfo, classes: object, normalised: object) -> None:
    """Of weights that do not say what they are for."""
    said = []
    if not classes:
        said.append("its outputs are the data's classes by position (else: --teacher-classes FILE)")
    if not normalised:
        shown = [round(value, 3) for value in (*data.mean, *data.std)]
        said.append(f"its pixels are normalised like the data's, {shown} (else: --teacher-norm)")
    if said:
        _log.info("%s does not say what it expects; it is taken that %s", file, ", and that ".join(said))


def teacher_of(config: DistillConfig, data: DataSet | ModelInfo, device: torch.device) -> LiveTeacher | Ensemble:
    """The teacher, or the teachers, that a config names, each with a new head where that is asked for.

    Raises:
        StkdError: A name, weights or classes are missing or do not fit.
    """

    mean, std = normalisation_of(config)

    def one(
        name: str | None, path: Path | None, options: Mapping[str, Any] | None = None, key: str | None = None
    ) -> LiveTeacher:
        return load_teacher(
            name,
            path,
            data,
            device,
            key=key,
            pretrained=config.teacher_pretrained,
            classes=config.teacher_classes,
            mean=mean,
            std=std,
            size=config.teacher_size,
            options=options,
            new_head=config.teacher_probe,
        )

    teachers = [one(config.teacher, config.teacher_weights, config.teacher_options, config.teacher_weights_key)]
    teachers += [one(None, path) for path in config.more_teachers or ()]
    if config.teacher_probe:
        for place, teacher in enumerate(teachers):
            probe_as_asked(config, teacher, data, place)
    return Ensemble(teachers, config.teacher_shares) if len(teachers) > 1 else teachers[0]


def probe_as_asked(config: DistillConfig, teacher: LiveTeacher, data: DataSet | ModelInfo, place: int = 0) -> None:
    """Give a teacher the head that a config asks for.

    Raises:
        StkdError: It has no features, there are no labelled images, or the config asks for its own classes too.
    """
    if config.teacher_classes is not None:
        raise StkdError("--teacher-probe takes the data's classes; leave out --teacher-classes")
    folders = [config.out, *([config.teacher_cache] if config.teacher_cache is not None else [])]
    changed = config.data_changed == "accept"
    give_probe(teacher, data, folders=folders, place=place, data_may_differ=changed, workers=config.workers)
