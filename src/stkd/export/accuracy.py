"""What a file that answers otherwise than its model costs: the accuracy of both on all images of a split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..data import DataSet
from ..evaluation.predictions import logits_of_all, scores
from ..runs.finished_run import FinishedRun
from .format import Run

__all__ = ["accuracy", "unnormalised"]


def accuracy(opened: FinishedRun, model: nn.Module, run: Run) -> dict[str, Any]:
    """Accuracy of a model and of its file, on validation images where there are some, else on test images.

    Args:
        opened: The run, whose data set is taken.
        model: From images in 0..1 to logits.
        run: The file's answers.

    Returns:
        "split", "images", "float" and "file" (shares of right answers), "drop" (points, above 0 if the file is worse)
        and "equal_top1".

    Raises:
        StkdError: The images cannot be read.
    """
    data = opened.data
    name, split = next((n, s) for n, s in (("val", data.val), ("test", data.test), ("train", data.train)) if s)

    def file(images: Tensor) -> Tensor:
        return torch.from_numpy(run(images.contiguous().numpy()))

    both: dict[str, Callable[[Tensor], Tensor]] = {"float": model, "file": file}
    logits, labels = logits_of_all(both, split, unnormalised(data), device=torch.device("cpu"))
    scored = scores(logits["file"], labels, logits["float"])
    exact, own = scored["teacher_top1"], scored["top1"]
    return {
        "split": name,
        "images": len(labels),
        "float": exact,
        "file": own,
        "drop": 100 * (exact - own),
        "equal_top1": scored["agreement"],
    }


def unnormalised(data: DataSet) -> DataSet:
    """A data set whose images stay in 0..1."""
    return dataclasses.replace(data, mean=(0.0,) * data.channels, std=(1.0,) * data.channels)
