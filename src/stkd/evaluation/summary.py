"""Everything that `stkd evaluate` shows about a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import StkdError
from ..data.base import DataSet, Split
from .calibration import calibration
from .confusion import class_accuracy, class_change, confusion_matrix
from .cost import costs
from .ood import foreign_logits, ood_scores
from .predictions import logits_of, scores
from .robustness import robustness
from .transfer import similarity_to_teacher, virtual_transfer

__all__ = ["evaluate"]

Model = Callable[[Tensor], Tensor]

_MOST_CLASSES = 256  # up to which matrices of classes are worth their size


def evaluate(
    model: nn.Module,
    data: DataSet,
    *,
    split: str = "test",
    teacher: Model | None = None,
    alone: Model | None = None,
    corrupted: bool = False,
    foreign: DataSet | None = None,
    workers: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Everything `stkd evaluate` shows about a model; docs/evaluate.md says what each number means.

    Args:
        model: The model; it is evaluated where its parameters are.
        data: The data set.
        split: "test", "val" or "train".
        teacher: Source of logits to agree with; its costs are measured too if it is a module.
        alone: The student trained without a teacher, to compare with class by class.
        corrupted: Also measure the accuracy under common corruptions (71 passes).
        foreign: Another data set, to see whether the models are less sure of its images.
        workers: Processes that decode, for sets of files.
        progress: Whether to show a progress bar under corruptions, where stderr is a terminal.

    Returns:
        The scores of `scores`, `costs` and `calibration`, confusion and class_accuracy; images, split, threads and
        classes; as far as they were asked for, "teacher" and "alone" (the same of these models), "similarity",
        "virtual", "robustness" and "ood". Plain numbers, lists and dictionaries, ready for JSON.

    Raises:
        StkdError: The data set has no such split, or it is not labelled.
    """
    chosen = _labelled(data, split)
    device = next(model.parameters()).device
    model.eval()
    models: dict[str, Model] = {"model": model}
    models |= {} if teacher is None else {"teacher": teacher}
    models |= {} if alone is None else {"alone": alone}

    def answers(split: Split) -> dict[str, Tensor]:
        return {w: logits_of(m, split, data, device=device, workers=workers)[0] for w, m in models.items()}

    logits, labels = answers(chosen), torch.from_numpy(np.array(chosen.labels))
    held = _held_out(data, split)
    held_logits = {} if held is None else answers(held)
    parts = {}
    for who, ask in models.items():
        fit_on = None if held is None else (held_logits[who], torch.from_numpy(np.array(held.labels)))
        parts[who] = _about(ask, logits[who], labels, data, fit_on)

    found = {**parts.pop("model"), **scores(logits["model"], labels, logits.get("teacher"))}
    found |= {"threads": torch.get_num_threads(), "images": len(labels), "split": split, "classes": list(data.classes)}
    found |= parts
    if teacher is not None:
        similarity = similarity_to_teacher(logits["model"], logits["teacher"], labels)
        found["similarity"] = similarity
        found["virtual"] = virtual_transfer(
            model, teacher, chosen, data, similarity["teacher"], device=device, workers=workers
        )
    if alone is not None:
        confusions = [confusion_matrix(logits[who], labels) for who in ("model", "alone")]
        found["alone"]["class_change"] = class_change(*confusions)
        if teacher is not None:
            found["alone"]["similarity"] = similarity_to_teacher(logits["alone"], logits["teacher"], labels)
    if corrupted:
        found["robustness"] = robustness(models, chosen, data, device=device, workers=workers, progress=progress)
    if foreign is not None:
        found["ood"] = _out_of_distribution(models, logits, foreign, data, device, workers)
    plain: dict[str, Any] = _plain(found)
    return plain


def _labelled(data: DataSet, name: str) -> Split:
    chosen: Split | None = getattr(data, name)
    if chosen is None:
        raise StkdError(f"{data.name} has no {name} split; choose another with --split")
    if (chosen.labels < 0).any():
        raise StkdError(f"the {name} split of {data.name} is not labelled, so there is nothing to score against")
    return chosen


def _held_out(data: DataSet, scored: str) -> Split | None:
    """Images to fit a temperature on: the validation split, where there is one that is not scored itself."""
    if scored == "val" or data.val is None or (data.val.labels < 0).any():
        return None
    return data.val


def _about(
    model: Model, logits: Tensor, labels: Tensor, data: DataSet, held_out: tuple[Tensor, Tensor] | None
) -> dict[str, Any]:
    confusion = confusion_matrix(logits, labels)
    return {
        **scores(logits, labels),
        **(costs(model, data.channels, data.size) if isinstance(model, nn.Module) else {}),
        "calibration": calibration(logits, labels, held_out),
        "class_accuracy": class_accuracy(confusion),
        "confusion": confusion,
    }


def _out_of_distribution(
    models: dict[str, Model],
    logits: dict[str, Tensor],
    foreign: DataSet,
    data: DataSet,
    device: torch.device,
    workers: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {"data": foreign.name}
    for who, ask in models.items():
        strange = foreign_logits(ask, foreign, data, device=device, workers=workers)
        found |= {"images": len(strange), who: ood_scores(logits[who], strange)}
    return found


def _plain(value: Any) -> Any:
    """Tensors as lists, NaN as None; matrices of very many classes are left out."""
    if isinstance(value, dict):
        large = [k for k, v in value.items() if isinstance(v, Tensor) and v.ndim == 2 and len(v) > _MOST_CLASSES]
        return {k: _plain(v) for k, v in value.items() if k not in large}
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value
