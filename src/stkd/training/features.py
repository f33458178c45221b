"""The features that a method looks at, collected from student and teacher while they run."""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import chain

import torch
from torch import Tensor, nn

from ..core.errors import StkdError
from ..data import DataSet
from ..losses.logits import at_least_float32
from ..methods.base import Method, Need, Setup, Tapped
from ..models.taps import POOLED, Taps, norm_before, stages
from ..teachers import LiveTeacher

__all__ = ["Features", "attach"]


def attach(
    method: Method, student: nn.Module, teacher: LiveTeacher | None, data: DataSet, labels: Tensor
) -> tuple[Features | None, nn.Module | None]:
    """Tap student and teacher as a method asks, and let it build its extra modules from the shapes it sees.

    Args:
        method: The method.
        student: On its device, without wrappers.
        teacher: On the same device, None if the method uses none.
        data: For the shape of the images.
        labels: int64 (N,), of the training images, on the device.

    Returns:
        The taps and the extra modules, each None where the method wants none.
    """
    features, tapped = None, (Tapped(), Tapped())
    if method.needs and teacher is not None:
        # any images will do for the shapes, but black ones would make all features alike
        shape = (2, data.channels, data.size, data.size)
        sample = torch.arange(math.prod(shape), device=labels.device).sin().view(shape)
        features = Features(student, teacher, method.needs, sample)
        try:
            tapped = _features_of(sample, features, student, teacher)
        except BaseException:
            features.close()
            raise
    norms = features.teacher_norms() if features is not None else ()
    extras = method.build(Setup(*tapped, student, labels, norms))
    return features, extras.to(labels.device) if extras is not None else None


@torch.no_grad()
def _features_of(sample: Tensor, features: Features, student: nn.Module, teacher: LiveTeacher) -> tuple[Tapped, Tapped]:
    mode = student.training
    teacher.logits(sample)
    student.eval()(sample)
    student.train(mode)
    return features.take()


class Features:
    """Taps on student and teacher.

    Args:
        student: The module itself, without wrappers.
        teacher: The teacher.
        needs: What the method looks at.
        sample: Images (2, C, H, W) as the student sees them, on the device.

    Raises:
        StkdError: A model has no such features.
    """

    def __init__(self, student: nn.Module, teacher: LiveTeacher, needs: Collection[Need], sample: Tensor) -> None:
        self.needs = needs
        names_s, names_t = _names(student, sample, needs), _names(teacher.module, teacher.preprocess(sample), needs)
        for need in ("stages", "preact"):
            depth = min(len(names_s[need]), len(names_t[need]))
            names_s[need], names_t[need] = names_s[need][-depth:], names_t[need][-depth:]
        models = ((student, names_s), (teacher.module, names_t))
        self._sides = [(model, Taps(model, chain(*names.values())), names) for model, names in models]

    def teacher_norms(self) -> tuple[nn.BatchNorm2d | None, ...]:
        """The batch norms that give the teacher's pre-activation features, as far as the teacher tells."""
        _, (model, _, names) = self._sides
        told = hasattr(model, "preact_taps")
        return tuple(norm_before(model, name) if told else None for name in names["preact"])

    def close(self) -> None:
        """Remove the hooks."""
        for _, taps, _ in self._sides:
            taps.close()

    def take(self) -> tuple[Tapped, Tapped]:
        """Features of the student's and the teacher's last run, in float32.

        Raises:
            StkdError: The stages of a model are tokens, not maps.
        """
        student, teacher = (_tapped(model, taps.take(), names) for model, taps, names in self._sides)
        return student, teacher


def _names(model: nn.Module, sample: Tensor, needs: Collection[Need]) -> dict[str, list[str]]:
    mode = model.training
    with torch.no_grad():
        names = {"stages": stages(model, sample) if "stages" in needs else []}
        names["preact"] = _preact(model, sample) if "preact" in needs else []
    model.train(mode)
    names["pooled"] = [POOLED] if "pooled" in needs else []
    return names


def _preact(model: nn.Module, sample: Tensor) -> list[str]:
    try:
        return stages(model, sample, preact=True)
    except StkdError:
        return stages(model, sample)  # a model that does not tell where its last activations are


def _tapped(model: nn.Module, features: dict[str, Tensor], names: dict[str, list[str]]) -> Tapped:
    def maps(need: Need) -> tuple[Tensor, ...]:
        return tuple(_as_maps(model, at_least_float32(features[name])) for name in names[need])

    pooled = tuple(at_least_float32(features[name]) for name in names["pooled"])
    return Tapped(maps("stages"), maps("preact"), pooled)


def _as_maps(model: nn.Module, stage: Tensor) -> Tensor:
    """A stage as (R, C, H, W); some of timm's models have their channels last, and say so."""
    if stage.ndim != 4:
        raise StkdError(
            f"{type(model).__name__} has no maps in its stages but tokens {tuple(stage.shape)}; "
            "take a method on logits or on pooled features, such as dist or crd"
        )
    return stage.permute(0, 3, 1, 2) if getattr(model, "output_fmt", None) == "NHWC" else stage
