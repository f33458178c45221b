"""Images that show their class by their brightness, and a teacher that reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stkd.core.config import DistillConfig
from stkd.core.fabric import make_fabric
from stkd.data import DataSet, Split
from stkd.data.samples import make_loader
from stkd.mixing import Mix
from stkd.models.files import ModelInfo
from stkd.preflight import Subject
from stkd.teachers import LiveTeacher

MEAN, STD = (0.4, 0.4, 0.4), (0.3, 0.3, 0.3)


class Reader(nn.Module):
    """Knows the class of an image by its mean, if the image is normalised as it expects.

    Args:
        classes: C; class c has a brightness of (c + 0.5) / C.
        order: int64 (C,), the class that each output stands for.
        mistakes: Share of images whose answer is another class, drawn by the image.
    """

    def __init__(self, classes: int, order: NDArray[np.int64] | None = None, mistakes: float = 0.0) -> None:
        super().__init__()
        self.order = torch.arange(classes) if order is None else torch.from_numpy(order)
        self.mistakes = mistakes
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        brightness = (images * STD[0] + MEAN[0]).mean((1, 2, 3))
        classes = len(self.order)
        logits = -((brightness[:, None] - (torch.arange(classes) + 0.5) / classes) ** 2)
        wrong = (images.std((1, 2, 3)) * 1e4 % 1) < self.mistakes  # as good as random, and the same for an image
        return torch.where(wrong[:, None], logits.roll(1, 1), logits)[:, self.order]


def bright(classes: int, each: int, seed: int = 0, *, noise: int = 6) -> Split:
    """`each` images (3, 8, 8) of each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    level = (255 * (labels + 0.5) / classes)[:, None, None, None]
    images = level + rng.uniform(-noise, noise, (len(labels), 3, 8, 8))
    return Split(images.clip(0, 255).astype(np.uint8), labels)


@pytest.fixture
def make_subject() -> Callable[..., Subject]:
    """`make_subject(data, module, order=..., **options)`: what a preflight looks at."""

    def make(
        data: DataSet, module: nn.Module | None = None, students: Any = (), mix: Mix | None = None, **options: Any
    ) -> Subject:
        config = DistillConfig(data=data.name, student="cnn2", out="run", accelerator="cpu", **options)  # type: ignore[arg-type]
        mix = mix or Mix(kind="none", instances=1)
        fabric = make_fabric(config)
        teacher = None
        if module is not None:
            teacher = LiveTeacher(module, ModelInfo("reader", data.classes, 3, data.size, MEAN, STD), data)
        return Subject(config, data, mix, make_loader(config, data, mix, fabric), fabric.device, teacher, students)

    return make


@pytest.fixture
def make_data() -> Callable[..., DataSet]:
    """`make_data(classes, each)`: a data set of such images; train and test are keyword arguments, too."""

    def make(classes: int = 10, each: int = 40, **changes: Any) -> DataSet:
        values: dict[str, Any] = {
            "name": "bright",
            "classes": tuple(f"c{i}" for i in range(classes)),
            "channels": 3,
            "size": 8,
            "mean": MEAN,
            "std": STD,
            "augment": "none",
            "train": bright(classes, each),
            "val": None,
            "test": bright(classes, 5, seed=1),
            "fingerprint": uuid4().hex,
        }
        return DataSet(**{**values, **changes})

    return make
