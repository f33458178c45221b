"""What the page asks: images and weights in, a virtual sample and both models' probabilities out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import StkdError
from ..data import DataSet, Interpolation, open_data
from ..data.decode import decode_square
from ..data.loader import affine, eval_batches
from ..data.splits import take
from ..evaluation import latency
from ..mixing import Parts, mix_images
from ..runs.finished_run import open_run

__all__ = ["Answer", "Explorer", "shares"]

_EXAMPLES = 24

_log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
"""An image to be shown, (S, S) or (S, S, 3)."""


@dataclass(frozen=True)
class Answer:
    """What the models say to one virtual sample.

    Attributes:
        image: The virtual sample, fractions rounded.
        weights: Of its images; they sum to 1.
        probabilities: float32 (C,) for each model, softened by the temperature that was asked for.
    """

    image: Pixels
    weights: tuple[float, ...]
    probabilities: dict[str, Tensor]

    @property
    def kl(self) -> float | None:
        """KL(teacher || student) in nats; None without a teacher."""
        if "teacher" not in self.probabilities:
            return None
        taught, own = self.probabilities["teacher"], self.probabilities["student"]
        return float(F.kl_div(own.clamp_min(1e-12).log(), taught, reduction="sum"))


def shares(others: Sequence[float]) -> tuple[float, ...]:
    """Weights of all images from those of the second and later ones: the first gets what is left.

    Args:
        others: Wanted weights, 0 to 1 each; where they sum to more than 1 they are scaled down.
    """
    total = sum(others)
    scale = 1 / total if total > 1 else 1.0
    return (max(0.0, 1 - total), *(scale * w for w in others))


class Explorer:
    """A run's student and teacher, ready to be asked, with examples from its test images.

    Args:
        run: Run directory, or weights written by stkd.
        data: Data set to take examples from instead of the run's own.

    Attributes:
        models: "teacher" (where there is one) and "student"; a model trained alone is "model".
        latency_ms: Milliseconds of one image through each, median of several.
        examples: Images of the test split and their classes; empty where the data are not there.

    Raises:
        StkdError: The run or its weights cannot be read, or `data` cannot be opened.
    """

    def __init__(self, run: Path, data: str | None = None) -> None:
        opened = open_run(run)  # on the CPU: one image at a time, and what most users of a small model have
        self.info = opened.info
        self.models: dict[str, nn.Module] = {} if opened.teacher is None else {"teacher": opened.teacher}
        self.models[opened.role] = opened.model
        self.latency_ms = {w: latency(m, self.info.channels, self.info.size, 1) for w, m in self.models.items()}
        self.examples: list[tuple[Pixels, str]] = []
        if data is not None:
            how: Interpolation = "bilinear" if self.info.interpolation == "bilinear" else "bicubic"
            size, crop_pct = self.info.size, self.info.crop_pct
            self.examples = self._examples(open_data(data, image_size=size, crop_pct=crop_pct, interpolation=how))
        elif opened.config is not None:
            try:
                self.examples = self._examples(opened.data)
            except StkdError as error:  # images can be uploaded all the same
                _log.warning("there are no examples: %s", error)

    def ask(self, images: Sequence[Path], others: Sequence[float], temperature: float = 1.0) -> Answer:
        """Mix images and show the mixture to all models.

        Args:
            images: K files of any size and format.
            others: Weights of images 2 to K, see `shares`.
            temperature: T of the softened probabilities softmax(logits / T).

        Raises:
            StkdError: A file cannot be decoded.
        """
        weights = shares(others)
        view = (self.info.channels, self.info.size, self.info.crop_pct, self.info.interpolation)
        pixels = torch.stack([decode_square(path, *view) for path in images]).float()
        mixed, _ = mix_images(pixels, Parts(torch.arange(len(images))[None], torch.tensor([weights])))
        scale, shift = affine(self.info.mean, self.info.std, mixed.device)
        with torch.no_grad():
            logits = {who: model(mixed * scale + shift)[0] for who, model in self.models.items()}
        probabilities = {who: (z.float() / temperature).softmax(0) for who, z in logits.items()}
        return Answer(_shown(mixed[0]), weights, probabilities)

    def _examples(self, data: DataSet) -> list[tuple[Pixels, str]]:
        split = data.test or data.val or data.train
        plain = dataclasses.replace(data, mean=(0.0,) * data.channels, std=(1.0,) * data.channels)
        some = take(split, np.linspace(0, len(split) - 1, min(_EXAMPLES, len(split))).astype(np.int64))
        batches = eval_batches(some, plain, batch_size=_EXAMPLES, device=torch.device("cpu"))
        names = [data.classes[label] if label >= 0 else "" for label in some.labels]
        return [(_shown(image * 255), name) for image, name in zip(next(batches)[0], names, strict=True)]


def _shown(image: Tensor) -> Pixels:
    pixels: Pixels = image.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
