"""The evaluation of a model: all that `stkd evaluate` and the report page show about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import StkdError
from ..data.base import DataSet, Split
from ..data.broken_files import readable
from ..mixing import Mix
from .calibration import calibration
from .confusion import (
    class_accuracy,
    class_change,
    class_intervals,
    confusion_matrix,
    most_mistaken,
    share_interval,
)
from .corrupted_files import corrupted_files
from .cost import costs, device_of
from .examples import disagreements, virtual_examples
from .ood import foreign_logits, ood_scores
from .predictions import logits_of_all, scores
from .robustness import robustness
from .similarity import TEMPERATURE, class_similarity
from .transfer import similarity_to_teacher, virtual_transfer

__all__ = ["evaluate"]

Model = Callable[[Tensor], Tensor]

_MOST_CLASSES = 256  # up to which matrices of classes are worth their size


def evaluate(
    model: Model,
    data: DataSet,
    *,
    split: str = "test",
    teacher: Model | None = None,
    alone: Model | None = None,
    corrupted: bool | Path = False,
    foreign: DataSet | None = None,
    mix: Mix | None = None,
    workers: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Everything that `stkd evaluate` and the report page show about a model; docs/evaluate.md explains each number.

    Args:
        model: The model; it is evaluated where its parameters are. Without any, it answers on the CPU and has no costs.
        data: The data set.
        split: "test", "val" or "train".
        teacher: Source of logits to agree with; its costs are measured too if it is a module.
        alone: The student trained without a teacher, to compare with class by class.
        corrupted: Also measure the accuracy under common corruptions (71 passes), or on published corrupted images in
            a folder, see `corrupted_files`.
        foreign: Another data set, to see whether the models are less confident on its images.
        mix: How the virtual samples among the examples are mixed; None interpolates two images.
        workers: Processes that decode, for sets of files.
        progress: Whether to show a progress bar under corruptions, where stderr is a terminal.

    Returns:
        The scores of `scores`, `costs` and `calibration`, top1_interval (Wilson, 95 %), confusion, class_accuracy,
        class_interval, class_images and mistaken (pairs of label and count); "similarity" of the classes;
        images, split, threads and classes; as far as they were asked for, "teacher" and "alone" (the same of these
        models), "virtual", "examples", "robustness" and "ood". Plain numbers, texts, lists and dictionaries, ready for
        JSON.

    Raises:
        StkdError: The data set has no such split, or it is not labelled.
    """
    scored = _labelled(data, split)
    published = corrupted_files(corrupted, data) if isinstance(corrupted, Path) else None
    device = torch.device("cpu")
    if isinstance(model, nn.Module):
        device = device_of(model)
        model.eval()
    models: dict[str, Model] = {"model": model}
    models |= {} if teacher is None else {"teacher": teacher}
    models |= {} if alone is None else {"alone": alone}

    def predictions(split: Split) -> dict[str, Tensor]:
        return logits_of_all(models, split, data, device=device, workers=workers)[0]

    logits, labels = predictions(scored), torch.from_numpy(np.array(scored.labels))
    held_out = _held_out(data, split)
    held_out_logits = {} if held_out is None else predictions(held_out)
    about = {}
    for who, one in models.items():
        fit_on = None if held_out is None else (held_out_logits[who], torch.from_numpy(np.array(held_out.labels)))
        about[who] = _about(one, logits[who], labels, data, fit_on)

    values = {**about.pop("model"), **scores(logits["model"], labels, logits.get("teacher"))}
    values |= {"threads": torch.get_num_threads(), "images": len(labels), "split": split, "classes": list(data.classes)}
    values |= about
    if teacher is None:
        values["similarity"] = {"temperature": TEMPERATURE, "model": class_similarity(logits["model"], labels)}
    else:
        values["similarity"] = similarity_to_teacher(logits["model"], logits["teacher"], labels)
        if labels.min() != labels.max():
            values["virtual"] = virtual_transfer(
                model, teacher, scored, data, values["similarity"]["teacher"], device=device, workers=workers
            )
        values["examples"] = {
            "image_size": data.size,
            "mix": mix.kind if mix is not None and mix.active else "none",
            "disagreements": disagreements(logits["model"], logits["teacher"], scored, data),
            "virtual": virtual_examples(model, teacher, scored, data, mix or Mix(), device=device),
        }
    values["similarity"] = _first_classes(values["similarity"])
    if alone is not None:
        confusions = [confusion_matrix(logits[who], labels) for who in ("model", "alone")]
        values["alone"]["class_change"] = class_change(*confusions)
        if teacher is not None:
            similarity = similarity_to_teacher(logits["alone"], logits["teacher"], labels)
            values["alone"]["similarity"] = _first_classes(similarity)
    if corrupted:
        values["robustness"] = robustness(
            models, scored, data, device=device, workers=workers, files=published, progress=progress
        )
    if foreign is not None:
        values["ood"] = _out_of_distribution(models, logits, foreign, data, device, workers)
    plain: dict[str, Any] = _plain(values)
    return plain


def _first_classes(similarity: dict[str, Any]) -> dict[str, Any]:
    """Matrices of very many classes cut to the first of them; the correlations are over all."""
    return {k: v[:_MOST_CLASSES, :_MOST_CLASSES] if isinstance(v, Tensor) else v for k, v in similarity.items()}


def _labelled(data: DataSet, name: str) -> Split:
    split: Split | None = getattr(data, name)
    if split is None:
        raise StkdError(f"{data.name} has no {name} split; choose another with --split")
    if (split.labels < 0).any():
        raise StkdError(f"the {name} split of {data.name} is not labelled, so there is nothing to score against")
    return readable(split)


def _held_out(data: DataSet, scored: str) -> Split | None:
    """Images to fit a temperature on: the validation split, where there is one that is not scored itself."""
    if scored == "val" or data.val is None or (data.val.labels < 0).any():
        return None
    return readable(data.val)


def _about(
    model: Model, logits: Tensor, labels: Tensor, data: DataSet, held_out: tuple[Tensor, Tensor] | None
) -> dict[str, Any]:
    confusion = confusion_matrix(logits, labels)
    return {
        **scores(logits, labels),
        "top1_interval": share_interval(int(confusion.diagonal().sum()), len(labels)),
        **(costs(model, data.channels, data.size) if isinstance(model, nn.Module) else {}),
        "calibration": calibration(logits, labels, held_out),
        "class_accuracy": class_accuracy(confusion),
        "class_interval": class_intervals(confusion),
        "class_images": confusion.sum(1),
        "confusion": confusion,
        "mistaken": most_mistaken(confusion),
    }


def _out_of_distribution(
    models: dict[str, Model],
    logits: dict[str, Tensor],
    foreign: DataSet,
    data: DataSet,
    device: torch.device,
    workers: int,
) -> dict[str, Any]:
    values: dict[str, Any] = {"data": foreign.name}
    for who, model in models.items():
        of_foreign = foreign_logits(model, foreign, data, device=device, workers=workers)
        values |= {"images": len(of_foreign), who: ood_scores(logits[who], of_foreign)}
    return values


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
