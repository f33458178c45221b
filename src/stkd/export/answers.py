"""What an exported file says to images: predictions and scores, from the same pixels as the run's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import StkdError
from ..data import open_data
from ..data.broken_files import readable
from ..evaluation import evaluate
from ..runs.prediction import Answer, most_probable
from .comparison import timed
from .format import Opened
from .opening import open_exported, parts_of
from .whole import in_order, pictures_of

__all__ = ["answer_of", "evaluate_exported", "predict_exported"]


def answer_of(opened: Opened) -> Answer:
    """What an exported file makes of pixels; it is called "model" there."""

    def probabilities(pixels: Tensor) -> dict[str, Tensor]:
        if opened.whole is None:
            logits = opened.run((pixels / 255).contiguous().numpy())
        else:
            logits = opened.whole(pixels.permute(1, 2, 0).contiguous().numpy())
        return {"model": torch.from_numpy(logits).softmax(1)}

    return Answer(opened.contract.info, probabilities, whole=opened.whole is not None)


def predict_exported(file: Path, images: Iterable[str | Path], *, top: int = 5) -> list[dict[str, Any]]:
    """The most probable classes of images by an exported file.

    Args:
        file: The file.
        images: As for `stkd.runs.prediction.predict_images`.
        top: Number of classes, at most.

    Returns:
        As `predict_images`; the file is "model".

    Raises:
        StkdError: The file cannot be opened, an argument names no image, or no image at all can be read.
    """
    return most_probable(lambda: answer_of(open_exported(file)), images, top=top)


def evaluate_exported(
    file: Path, data_spec: str | None, *, split: str = "test", corrupted: bool | Path = False, ood: str | None = None
) -> dict[str, Any]:
    """Score an exported file.

    Args:
        file: The file.
        data_spec: Data set with the same classes.
        split: "test", "val" or "train".
        corrupted: Also measure the accuracy under common corruptions, or on published ones in a folder.
        ood: Data set of other images, to see whether it is less confident on them.

    Returns:
        What `stkd.evaluation.evaluate` returns, with latencies and the size of the file.

    Raises:
        StkdError: The file or the data cannot be opened, or they have other classes or channels.
    """
    if split not in ("train", "val", "test"):
        raise StkdError(f"unknown split {split!r}; choose train, val or test")
    if data_spec is None:
        raise StkdError(f"{file} does not hold the images that it is scored on; give --data KIND:PATH")
    answering = open_exported(file)
    info = answering.contract.info
    data = open_data(data_spec, image_size=info.size, crop_pct=info.crop_pct, interpolation=info.interpolation)
    if data.classes and data.classes != info.classes:
        raise StkdError(f"{data.name} has other classes than {file}; give --data one with the same classes")
    if data.channels != info.channels:
        raise StkdError(f"{data.name} has images of {data.channels} channels, {file} takes {info.channels}")
    # normalisation is inside the file
    data = dataclasses.replace(data, classes=info.classes, mean=(0.0,) * info.channels, std=(1.0,) * info.channels)

    run, alone = answering.run, answering.run
    if answering.whole is not None:
        if corrupted or ood is not None:
            raise StkdError(f"{file} takes whole pictures; --robustness and --ood need a file that takes squares")
        parts = [readable(own) for own in (getattr(data, split), None if split == "val" else data.val) if own]
        run = in_order(answering.whole, chain.from_iterable(pictures_of(part, info) for part in parts))
        alone = partial(_repeated, answering.whole)

    def model(images: Tensor) -> Tensor:
        return torch.from_numpy(run(images.contiguous().numpy()))

    evaluation = evaluate(
        model, data, split=split, corrupted=corrupted, foreign=None if ood is None else open_data(ood)
    )
    for size in (1, 64):
        images = np.zeros((size, info.channels, info.size, info.size), np.float32)
        inside = {} if answering.seconds is None else {"file": answering.seconds}
        median = timed({"file": partial(alone, images)}, inside=inside)["file"]["median_ms"]
        evaluation |= {f"latency_ms_{size}": median, f"throughput_{size}": 1000 * size / median}
    size = sum(part.stat().st_size for part in parts_of(file))
    return {**evaluation, "file_bytes": size, "runtime": answering.runtime}


def _repeated(
    whole: Callable[[NDArray[np.uint8]], NDArray[np.float32]], images: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Answers to pictures as large as squares, one by one, which is what a file that takes whole ones can do."""
    return np.concatenate([whole(image.transpose(1, 2, 0).astype(np.uint8)) for image in images])
