"""Whether an exported file answers as the model does, on real images, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import quantiles

import torch
from torch import Tensor, nn

from ..data.loader import affine
from ..models.files import ModelInfo
from .format import Run

__all__ = ["Agreement", "compare", "timed"]

_SIZES = (1, 2, 7, 64)  # of the first batches: a file must answer for any number of images
_DIFFERENCE, _EQUAL = 1e-3, 0.995
_ROW, _PASSES, _LONGEST = 5, 30, 2.0  # passes, passes, seconds


@dataclass(frozen=True)
class Agreement:
    """How near a file's logits are to the model's.

    Attributes:
        images: That were shown.
        largest_difference: Of a logit.
        largest_logit: Of the model, without its sign.
        equal_top1: Share of the images with the same most probable class.
    """

    images: int
    largest_difference: float
    largest_logit: float
    equal_top1: float

    @property
    def near(self) -> bool:
        """Whether the file may be kept; large logits may differ by as many digits as small ones."""
        return self.largest_difference <= _DIFFERENCE * max(1.0, self.largest_logit) and self.equal_top1 >= _EQUAL


@torch.no_grad()
def compare(model: nn.Module, info: ModelInfo, run: Run, batches: Iterable[Tensor]) -> Agreement:
    """Compare a file with the model that it was made of.

    The model sees the images normalised as evaluation does it, the file as they are.

    Args:
        model: From normalised images to logits, in evaluation mode.
        info: Its normalisation.
        run: The file's answers.
        batches: Images float32 (N, C, S, S) in 0..1.
    """
    scale, shift = affine(info.mean, info.std, torch.device("cpu"))
    own, other = [], []
    for images in _cut(batches):
        own.append(model(images * 255 * scale + shift).float())
        other.append(torch.from_numpy(run(images.numpy())))
    expected, found = torch.cat(own), torch.cat(other)
    return Agreement(
        images=len(expected),
        largest_difference=float((expected - found).abs().max()),
        largest_logit=float(expected.abs().max()),
        equal_top1=float((expected.argmax(1) == found.argmax(1)).float().mean()),
    )


def _cut(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The images of batches, the first of them in pieces of few."""
    sizes = iter(_SIZES)
    for images in batches:
        while len(images):
            size = next(sizes, len(images))
            yield images[:size].contiguous()
            images = images[size:]


def timed(
    answers: Mapping[str, Callable[[], object]],
    *,
    passes: int = _PASSES,
    longest: float = _LONGEST,
    inside: Mapping[str, Callable[[], float]] | None = None,
) -> dict[str, dict[str, float]]:
    """Time functions in turn, a few passes in a row, so that a busy machine is no advantage of one of them.

    Args:
        answers: The functions by name.
        passes: Of each that are timed, fewer where they are slow.
        longest: Seconds after which it ends, once each has been timed twice at least.
        inside: Of functions whose work another process does, the seconds that it took there.

    Returns:
        For each: median_ms, low_ms and high_ms (the quartiles), and passes.
    """
    times: dict[str, list[float]] = {name: [] for name in answers}
    for _ in range(max(1, passes // _ROW)):
        for name, answer in answers.items():
            answer()  # not counted: threads of the runtime before keep a core busy for a while
            row: list[float] = []
            while len(row) < _ROW and (len(row) < 2 or sum(row) < 1000 * longest):
                began = time.perf_counter()
                answer()
                taken = time.perf_counter() - began
                row.append(1000 * (inside[name]() if inside and name in inside else taken))
            times[name] += row
        if sum(map(sum, times.values())) > 1000 * longest:
            break
    measured = {}
    for name, all_times in times.items():
        low, middle, high = quantiles(all_times, method="inclusive")
        measured[name] = {"median_ms": middle, "low_ms": low, "high_ms": high, "passes": len(all_times)}
    return measured
