"""A run described in words, and as the command that repeats it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.config import DistillConfig, TrainConfig
from ..data import GIVEN
from ..models.names import without_folders

__all__ = [
    "command_of",
    "describe_data",
    "describe_mix",
    "describe_run",
    "describe_splits",
    "duration",
    "joined",
    "percent",
]


def percent(share: float, digits: int = 2) -> str:
    """A share in per cent."""
    return f"{100 * share:.{digits}f} %"


def joined(names: Sequence[str]) -> str:
    """Names with commas and an "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def describe_run(config: TrainConfig | DistillConfig, result: Mapping[str, Any], teacher: str) -> str:
    """A paragraph about a finished run.

    Args:
        config: Its options.
        result: What result.json holds.
        teacher: Names of the teachers' models; empty if the method used none.
    """
    if isinstance(config, DistillConfig):
        names = " and ".join(map(without_folders, teacher.split(" and ")))
        by = f"the teacher {names}" if teacher and _taught(config, result) else "the labels alone"
        who = f"The student {without_folders(config.student)} was taught by {by} with the method {config.method}"
    else:
        who = f"The model {without_folders(config.model)} was trained alone with the method {config.method}"
    data = describe_data(config.data)
    seen = result.get("images", {}).get("train", config.train_images)
    images = f"{seen:,} training images" if seen else "the training images"
    rate = f"{config.optimizer.upper()}, peak learning rate {result['lr']:.4g}, schedule {config.schedule}"
    if config.layer_decay is not None:
        rate += f", layer-wise decay {config.layer_decay:g}"
    if config.freeze:
        rate += f", the classifier alone for {_count(config.freeze, 'epoch')}"
    split = "test" if result.get("test") else "val"
    score, images_scored = result.get(split), {"test": "test", "val": "validation"}[split]
    scores = (
        f" After the last epoch it was right on {percent(score['top1'])} of the {images_scored} images "
        f"(NLL {score['nll']:.3f})."
        if score
        else ""
    )
    if (probe := result.get("probe")) is not None:
        of = {"test": "test", "val": "validation"}[probe["split"]]
        right = f"right on {percent(probe['top1'])} of the {of} images"
        scores += f" A head fitted on the features that it began with is {right}."
    return (
        f"{who} on {images} of {data}, for {_count(config.epochs, 'epoch')} in batches of {config.batch_size} "
        f"({rate}; seed {config.seed}). {describe_mix(result['mix'])}{scores} "
        f"Training took {duration(result['seconds'])} and {result['images_seen']:,} images."
        f"{''.join(_changes(result))}"
    )


def _changes(result: Mapping[str, Any]) -> Iterator[str]:
    """Where it was not one training from the start: sentences, each after a space."""
    for change in result.get("changes", ()):
        if (longer := change.get("lengthened")) is not None:
            yield f" After epoch {longer['epoch']} it was lengthened from {longer['from']} to {longer['to']} epochs."
        if (images := change.get("data_changed")) is not None:
            yield f" After epoch {images['epoch']} it went on with other images."
        if (engines := change.get("engines_changed")) is not None:
            yield f" After epoch {engines['epoch']} it went on with {engines['to']}, before with {engines['from']}."


def describe_mix(mix: Mapping[str, Any]) -> str:
    """A sentence on how virtual samples were mixed.

    Args:
        mix: The fields of `stkd.mixing.Mix`.
    """
    if mix["kind"] == "none" or mix["instances"] < 2:
        return "It was trained on real images."
    drawn = "for each sample" if mix["per_sample"] else "for each batch"
    kept = ", beside the real batch" if mix["beside"] else f", {percent(mix['real'], 0)} real" if mix["real"] else ""
    return (
        f"It was trained on virtual samples of {mix['instances']} images each ({mix['kind']}, weights drawn {drawn} "
        f"from Dirichlet({mix['alpha']:g}){kept})."
    )


def duration(seconds: float) -> str:
    """Seconds in a readable unit."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def describe_data(spec: str) -> str:
    """A data set in words: its kind and the name of its folder, without the folders above that.

    Args:
        spec: KIND[:PATH], as `--data` takes it.
    """
    kind, _, path = spec.partition(":")
    if kind == GIVEN:
        return f"{path}, given from Python"
    folder = Path(os.path.expanduser(os.path.expandvars(path))).resolve().name if path else ""
    if kind == "folder":
        return f"the folder {folder}"
    return f"{kind} (folder {folder})" if folder else kind


def describe_splits(images: Mapping[str, int]) -> str:
    """The number of images of each split.

    Args:
        images: "train", "val" and "test" to their numbers, as far as they are there.
    """
    words = {"train": "training", "val": "validation", "test": "test"}
    return joined([_count(count, f"{words.get(split, split)} image") for split, count in images.items()])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _taught(config: DistillConfig, result: Mapping[str, Any]) -> bool:
    """Whether the teacher was asked, or its answers came from a cache."""
    return bool(result["teacher_passes"] or config.teacher_cache)


def command_of(config: TrainConfig | DistillConfig, options: Mapping[str, Any]) -> str:
    """The command that repeats a run, without options that are at their defaults."""
    import dataclasses
    import shlex

    name = "distill" if isinstance(config, DistillConfig) else "train"
    words = ["stkd", name]
    for field in dataclasses.fields(type(config)):
        value = options.get(field.name)
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if value is not None and value != default:
            text = "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
            text = text.lower() if isinstance(value, bool) else text
            words += [f"--{field.name.replace('_', '-')}", text]
    return shlex.join(words)
