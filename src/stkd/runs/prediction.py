"""The most probable classes of image files, by a run's student and its teacher, or by whatever else answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count
from torch import Tensor

from ..core.devices import best_device
from ..core.errors import StkdError
from ..data.decode import decode, decode_square
from ..data.image_paths import image_paths
from ..data.loader import affine
from ..models.files import ModelInfo
from .finished_run import open_run

__all__ = ["Answer", "most_probable", "predict_images", "top_classes"]

_CHUNK = 64  # images that are shown to the models at once, while the next ones are decoded

View = tuple[int, int, float, str]
"""Channels, size, crop and interpolation, as `decode_square` takes them."""


@dataclass(frozen=True)
class Answer:
    """What answers.

    Attributes:
        info: What it expects of images, and its classes.
        probabilities: From pixels uint8 (N, C, S, S) to probabilities float32 (N, classes) on the CPU, for each model
            by name; of something that takes whole pictures from those of one (C, H, W).
        whole: Whether it takes whole pictures, and resizes them itself.
    """

    info: ModelInfo
    probabilities: Callable[[Tensor], dict[str, Tensor]]
    whole: bool = False


def predict_images(run: Path, images: Iterable[str | Path], *, top: int = 5) -> list[dict[str, Any]]:
    """The most probable classes of images by a run's student, and by its teacher where the run has one.

    Args:
        run: Run directory, or a safetensors file written by stkd (which has no teacher).
        images: Image files of any size and format, folders of them, and patterns; see `image_paths`.
        top: Number of classes, at most.

    Returns:
        For each image its path as "image" and, under "student" (a trained model alone: "model") and "teacher", a list
        of class and probability, most probable first. An image that cannot be read has "error", the reason, instead.

    Raises:
        StkdError: The run cannot be opened, an argument names no image, or no image at all can be read.
    """

    def opened() -> Answer:
        opened = open_run(run, device=best_device())
        models = {opened.role: opened.model}
        if opened.teacher is not None:
            models["teacher"] = opened.teacher
        scale, shift = affine(opened.info.mean, opened.info.std, opened.device)

        def probabilities(pixels: Tensor) -> dict[str, Tensor]:
            images = pixels.to(opened.device).float() * scale + shift
            with torch.no_grad():
                return {role: model(images).float().softmax(1).cpu() for role, model in models.items()}

        return Answer(opened.info, probabilities)

    return most_probable(opened, images, top=top)


def most_probable(opened: Callable[[], Answer], images: Iterable[str | Path], *, top: int) -> list[dict[str, Any]]:
    """The most probable classes of images, as `predict_images` returns them.

    Args:
        opened: Opens what answers; it is called once the arguments have been checked.
        images: See `image_paths`.
        top: Number of classes, at most.

    Raises:
        StkdError: It cannot be opened, an argument names no image, or no image at all can be read.
    """
    if top < 1:
        raise StkdError(f"--top must be at least 1, got {top}")
    paths = image_paths(images)
    answer = opened()
    info = answer.info
    view = (info.channels, info.size, info.crop_pct, info.interpolation)
    read: Callable[[Path], Tensor] = partial(decode, channels=info.channels)
    if not answer.whole:
        read = partial(_square, view=view)
    rows: list[dict[str, Any]] = []
    for chunk, decoded in _decoded(paths, read, 2 * cpu_count() if answer.whole else _CHUNK):
        readable = [pixels for pixels in decoded if isinstance(pixels, Tensor)]
        answers: Iterator[dict[str, Any]] = iter(())
        if readable:
            shown = readable if answer.whole else [torch.stack(readable)]
            parts = [answer.probabilities(pixels) for pixels in shown]
            probabilities = {role: torch.cat([part[role] for part in parts]) for role in parts[0]}
            answers = (
                {role: top_classes(p[i], info.classes, top) for role, p in probabilities.items()}
                for i in range(len(readable))
            )
        for path, one in zip(chunk, decoded, strict=True):
            rows.append({"image": str(path), **(next(answers) if isinstance(one, Tensor) else {"error": one})})
    if all("error" in row for row in rows):
        first = f"{rows[0]['image']} {rows[0]['error']}"
        raise StkdError(
            first if len(rows) == 1 else f"none of the {len(rows):,} images can be read; the first: {first}"
        )
    return rows


def _decoded(
    paths: Sequence[Path], read: Callable[[Path], Tensor], chunk_size: int
) -> Iterator[tuple[Sequence[Path], list[Tensor | str]]]:
    """Chunks of the paths with their pixels, or the reason why there are none; one chunk is decoded ahead.

    Args:
        paths: Image files.
        read: Decodes one.
        chunk_size: Images in a chunk.
    """
    one = partial(_read, read=read)
    waiting: deque[tuple[Sequence[Path], Iterator[Tensor | str]]] = deque()
    with ThreadPoolExecutor(cpu_count()) as pool:
        for start in range(0, len(paths), chunk_size):
            chunk = paths[start : start + chunk_size]
            waiting.append((chunk, pool.map(one, chunk)))
            if len(waiting) > 1:
                done, pixels = waiting.popleft()
                yield done, list(pixels)
        for done, pixels in waiting:
            yield done, list(pixels)


def _square(path: Path, view: View) -> Tensor:
    return decode_square(path, *view)


def _read(path: Path, read: Callable[[Path], Tensor]) -> Tensor | str:
    try:
        return read(path)
    except StkdError as error:
        return str(error).removeprefix(f"{path} ")


def top_classes(probabilities: Tensor, classes: tuple[str, ...], top: int) -> list[dict[str, Any]]:
    """The most probable classes of one image, the first one first.

    Args:
        probabilities: (classes,).
        classes: Their names.
        top: Number of classes, at most.
    """
    values, places = probabilities.topk(min(top, len(classes)))
    return [{"class": classes[c], "probability": v} for v, c in zip(values.tolist(), places.tolist(), strict=True)]
