"""The teacher of a run: named by its options, given as a module, or its logits on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data import DataSet
from ..methods import Method
from ..mixing import Mix
from ..models.files import ModelInfo, find_weights, read_info
from ..runs.directory import read_result
from ..runs.opened import asking_for_plugin, read_config
from ..training.samples import describe_samples
from .cache import CachedTeacher, need_header
from .live import Teacher, read_classes, teacher_of

__all__ = ["check_fit", "choose_teacher", "with_cached_epochs"]


def with_cached_epochs(config: DistillConfig) -> DistillConfig:
    """A config whose `sample_epochs` say how a run that is longer than its cache goes round it.

    Of a finished run they are those that it had: its cache may be gone by now, or longer.

    Raises:
        StkdError: There is no such cache, or it holds fewer epochs than are asked for.
    """
    if config.teacher_cache is None:
        return config
    if read_result(config.out) is not None:
        had = config.sample_epochs or read_config(config.out).sample_epochs
        return dataclasses.replace(config, sample_epochs=had)
    held = need_header(config.teacher_cache).epochs
    wanted = min(config.epochs, config.sample_epochs or config.epochs)
    if wanted <= held:
        return config
    if config.sample_epochs is not None:
        raise StkdError(
            f"{config.teacher_cache} holds {held} epochs, --sample-epochs asks for {config.sample_epochs}; "
            f"leave it out to go round the {held}, or lengthen the cache with 'stkd cache'"
        )
    return dataclasses.replace(config, sample_epochs=held)


def choose_teacher(
    config: DistillConfig, uses: Sequence[Method], mix: Mix, fabric: Fabric, data: DataSet, module: nn.Module | None
) -> tuple[Teacher, DataSet]:
    """The teacher on its device, and the data set, whose classes may be the teacher's.

    Args:
        config: The options.
        uses: The methods that learn from it.
        mix: The virtual samples.
        fabric: Where it runs.
        data: The data set.
        module: Stands in for the teacher that the config names.

    Raises:
        StkdError: It does not fit the data, or its cache is of other samples.
    """
    if config.teacher_cache is not None:
        teacher, data = _cached(config, uses, mix, fabric, data, module)
    else:
        teacher, data = _live(config, data, module)
    return teacher.to(fabric.device), data


def _cached(
    config: DistillConfig, uses: Sequence[Method], mix: Mix, fabric: Fabric, data: DataSet, module: nn.Module | None
) -> tuple[Teacher, DataSet]:
    folder = config.teacher_cache
    assert folder is not None
    header = need_header(folder)
    if any(method.needs for method in uses):
        raise StkdError(f"this method looks at features, and {folder} holds logits alone; leave out --teacher-cache")
    if header.top_k is not None and any(method.all_logits for method in uses):
        raise StkdError(
            f"this method compares all logits as they are, and {folder} holds the {header.top_k} largest; "
            "make a cache without --top-k"
        )
    if not data.classes:
        data = dataclasses.replace(data, classes=header.classes)
    asked = dataclasses.replace(header, samples=describe_samples(config, data, mix), classes=data.classes)
    if module is not None or config.teacher_weights is not None or config.teacher_pretrained:
        asked = dataclasses.replace(asked, teacher=_live(config, data, module)[0].identity())
    header.check(asked, folder)
    cycle = config.sample_epochs or config.epochs
    return CachedTeacher(folder, header, cycle=cycle, rank=fabric.global_rank, world=fabric.world_size), data


def _live(config: DistillConfig, data: DataSet, module: nn.Module | None) -> tuple[Teacher, DataSet]:
    if module is not None:
        if config.teacher_weights or config.more_teachers:
            raise StkdError("the teacher is given as a module; leave out teacher_weights and more_teachers")
        check_fit(module, data, config.teacher_size)
        mean, std = config.teacher_mean or data.mean, config.teacher_std or data.std
        info = ModelInfo(config.teacher or "", data.classes, data.channels, config.teacher_size or data.size, mean, std)
        return Teacher(module, info, data), data
    if not data.classes:
        data = dataclasses.replace(data, classes=_classes_of_teacher(config, data))
    with asking_for_plugin(config.teacher_weights):
        return teacher_of(config, data), data


def _classes_of_teacher(config: DistillConfig, data: DataSet) -> tuple[str, ...]:
    """The classes of unlabelled images are those that the teacher tells apart."""
    if config.teacher_classes is not None:
        return read_classes(config.teacher_classes)
    info = read_info(find_weights(config.teacher_weights)) if config.teacher_weights is not None else None
    if info is None:
        raise StkdError(
            f"{data.name} names no classes and neither do the teacher's weights; give --teacher-classes FILE"
        )
    return info.classes


def check_fit(module: nn.Module, data: DataSet, size: int | None = None) -> None:
    """A model made elsewhere must fit the images and classes; better known now than deep inside a loss."""
    side = size or data.size
    shape = (2, data.channels, side, side)
    wanted = (2, len(data.classes))
    mode = module.training
    try:
        with torch.no_grad():
            got = tuple(module.eval()(torch.zeros(shape)).shape)
    except RuntimeError as error:
        raise StkdError(f"{type(module).__name__} cannot take images {shape}: {' '.join(str(error).split())}") from None
    finally:
        module.train(mode)
    if got != wanted:
        raise StkdError(
            f"{type(module).__name__} answers {shape} with {got}, not {wanted}; "
            f"give it {wanted[1]} outputs, one for each class of {data.name}"
        )
