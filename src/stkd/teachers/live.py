"""A teacher that is a model: frozen, outside the optimiser, with its own normalisation, size and classes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import StkdError
from ..data import DataSet
from ..data.digest import fingerprint
from ..data.loader import Batch
from ..models.files import ModelInfo
from .class_map import class_map

if TYPE_CHECKING:
    from .probed import KeptHead

__all__ = ["LiveTeacher", "digest_of"]


class LiveTeacher:
    """A model that answers.

    Args:
        module: The model; it is frozen, put in evaluation mode and moved to the device.
        info: What the model expects and which classes it knows.
        data: What it teaches on: a data set, or what its student expects.
        device: Where it runs.
        given_map: For some classes of the data the model's name for it, see `class_map`.

    Attributes:
        runner: What runs preprocessed images in training: the module, or an engine that stands for it.
        mapping: Where each class of the data is among the model's, and how that was found.
        class_map: int64 (C,), position of each class of the data among the model's; None where they are the same.
        device: Where it runs.
        head: The head that it was given in the place of its own, if any.

    Raises:
        StkdError: It does not know a class of the data set.
    """

    def __init__(
        self,
        module: nn.Module,
        info: ModelInfo,
        data: DataSet | ModelInfo,
        device: torch.device | str = "cpu",
        given_map: Mapping[str, str] | None = None,
    ) -> None:
        self.device = device = torch.device(device)
        self.head: KeptHead | None = None
        self.mapping = class_map(info.classes, data.classes, given_map)
        order = list(self.mapping.positions)
        self.class_map = None if order == list(range(len(info.classes))) else torch.tensor(order, device=device)
        if not len(info.mean) == len(info.std) == info.channels or min(info.std) <= 0:
            raise StkdError(
                f"a teacher of {info.channels} channels needs as many means and positive standard deviations, "
                f"got {list(info.mean)} and {list(info.std)}"
            )
        self._widen = info.channels == 3 and data.channels == 1
        if not self._widen and info.channels != data.channels:
            raise StkdError(f"the teacher takes {info.channels} channels, the data set has {data.channels}")
        self._given = data.mean, data.std
        self._renormalise = _renormalise(data.mean, data.std, info.mean, info.std, device)
        self.info, self.classes = info, data.classes
        self.module = module.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self.runner: Callable[[Tensor], Tensor] = self.module
        self.record: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        return self.info.model

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        return self._mapped(self.runner(self.preprocess(batch.images)))

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, C) for the data set's classes, by the model itself.

        Args:
            images: (B, C, H, W), normalised as the data set says.
        """
        return self._mapped(self.module(self.preprocess(images)))

    def preprocess(self, images: Tensor) -> Tensor:
        """The images as this teacher expects them: its channels, normalisation and size."""
        if self._widen:
            images = images.expand(-1, 3, -1, -1)
        if self._renormalise is not None:
            images = images * self._renormalise[0] + self._renormalise[1]
        side = self.info.size
        if images.shape[-2:] != (side, side):
            images = F.interpolate(images, size=(side, side), mode=self.info.interpolation, antialias=True)
        return images

    def with_pixels(self, mean: Sequence[float], std: Sequence[float]) -> LiveTeacher:
        """The same model, shown images of another normalisation."""
        other = copy.copy(self)
        other.info = replace(self.info, mean=tuple(mean), std=tuple(std))
        other._renormalise = _renormalise(*self._given, mean, std, self.device)
        return other

    def fingerprint(self) -> str:
        info = self.info
        also: dict[str, str] = {} if info.interpolation == "bilinear" else {"interpolation": info.interpolation}
        if self.mapping.by_file:
            also["class_map"] = repr(self.mapping.positions)
        return fingerprint(digest_of(self.module), info.classes, info.channels, info.size, info.mean, info.std, **also)

    def _mapped(self, logits: Tensor) -> Tensor:
        return logits if self.class_map is None else logits[:, self.class_map]


def digest_of(module: nn.Module, without: Collection[str] = ()) -> str:
    """Of weights and statistics, but for those of some names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in module.state_dict().items():
        if name not in without:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _renormalise(
    mean: Sequence[float],
    std: Sequence[float],
    own_mean: Sequence[float],
    own_std: Sequence[float],
    device: torch.device,
) -> tuple[Tensor, Tensor] | None:
    """Factor and shift from one normalisation to another; None where they are the same."""
    m, s, om, os = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (mean, std, own_mean, own_std))
    factor, shift = s / os, (m - om) / os
    if torch.equal(om, m) and torch.equal(os, s):
        return None
    return factor, shift
