"""Data sets by name: `open_data("cifar100:~/data")` returns splits of uint8 images with labels."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..core.errors import StkdError
from .base import UNLABELLED, DataSet, ImageFiles, Interpolation, Listing, Request, Split, sources
from .digest import fingerprint

__all__ = [
    "UNLABELLED",
    "DataSet",
    "ImageFiles",
    "Interpolation",
    "Listing",
    "Request",
    "Split",
    "open_data",
    "sources",
]


def open_data(
    spec: str,
    *,
    labels: Literal["fine", "coarse"] = "fine",
    image_size: int | None = None,
    val_fraction: float = 0.0,
    train_images: int | None = None,
    split_seed: int = 0,
    nested: bool = False,
    skip_bad: bool = False,
    crop_pct: float | None = None,
    interpolation: Interpolation | None = None,
) -> DataSet:
    """Open a data set.

    Args:
        spec: `KIND[:PATH]`, for example `digits`, `cifar100:~/data`, `folder:$DATA/flowers`.
        labels: Which label set, where a source has two (CIFAR-100).
        image_size: Side in pixels to bring images to; None keeps the source's own (folders: 224).
        val_fraction: Share of the training images, in [0, 1), held out as validation split, stratified by class.
        train_images: Train on a stratified, labelled subset of this many images, drawn after the validation split.
        split_seed: Seed of every split that is drawn.
        nested: Folders inside a class folder are classes of their own, where the source is a folder of images.
        skip_bad: Leave out image files that cannot be decoded. Where the images stay on disk, another image of the same
            class is trained on in their place.
        crop_pct: Evaluation resizes the shorter side to image_size / crop_pct and cuts out the centre; None is 1.
        interpolation: How evaluation resizes; None is bilinear.

    Returns:
        The data set. Its mean and std are those of the source's whole training split.

    Raises:
        StkdError: The kind, the path, an option or a file is not usable.
    """
    if spec.startswith(f"{GIVEN}:"):
        raise StkdError(
            f"these images were given from Python ({spec.removeprefix(f'{GIVEN}:')}) and cannot be found again; give "
            "them to the same call once more, or another --data KIND:PATH with the same classes"
        )
    kind, path = _parse(spec)

    def read(request: Request) -> DataSet:
        return sources.get(kind)(path, request)

    return opened(
        read,
        labels=labels,
        image_size=image_size,
        val_fraction=val_fraction,
        train_images=train_images,
        split_seed=split_seed,
        nested=nested,
        skip_bad=skip_bad,
        crop_pct=crop_pct,
        interpolation=interpolation,
    )


GIVEN = "python"
"""What a data set is called whose images a Python program gave, before a colon and what it gave."""


def opened(
    read: Callable[[Request], DataSet],
    *,
    labels: Literal["fine", "coarse"] = "fine",
    image_size: int | None,
    val_fraction: float,
    train_images: int | None,
    split_seed: int,
    nested: bool = False,
    skip_bad: bool,
    crop_pct: float | None,
    interpolation: Interpolation | None,
) -> DataSet:
    """The data set that `read` gives for options, with its splits; see `open_data`."""
    _check_options(labels, image_size, val_fraction, train_images, split_seed)
    _check_view(crop_pct, interpolation)
    request = Request(
        labels=labels,
        image_size=image_size,
        split_seed=split_seed,
        nested=nested,
        skip_bad=skip_bad,
        crop_pct=1.0 if crop_pct is None else float(crop_pct),
        interpolation=interpolation or "bilinear",
    )
    data = read(request)
    if data.augment == "resized":
        # runs that began when crops showed 25 to 100 % of the square are not to go on with other ones
        data = replace(data, fingerprint=fingerprint(data.fingerprint, crops="0.08 to 1 of the picture"))
    if val_fraction == 0 and train_images is None:
        return data
    return _resplit(data, val_fraction, train_images, split_seed)


def _check_options(
    labels: str, image_size: int | None, val_fraction: float, train_images: int | None, split_seed: int
) -> None:
    if labels not in ("fine", "coarse"):
        raise StkdError(f"labels is {labels!r}; use fine or coarse")
    if image_size is not None and not 8 <= image_size <= 4096:
        raise StkdError(f"image_size is {image_size}; use a side from 8 to 4096 pixels")
    if not (math.isfinite(val_fraction) and 0 <= val_fraction < 1):
        raise StkdError(f"val_fraction is {val_fraction}; use a share from 0 to below 1, such as 0.1")
    if train_images is not None and train_images < 1:
        raise StkdError(f"train_images is {train_images}; use a positive number, or leave it out for all images")
    if split_seed < 0:
        raise StkdError(f"split_seed is {split_seed}; use 0 or a positive number")


def _check_view(crop_pct: float | None, interpolation: str | None) -> None:
    if crop_pct is not None and not 0.1 <= crop_pct <= 1:
        raise StkdError(f"crop_pct is {crop_pct}; use a share of the shorter side from 0.1 to 1, such as 0.875")
    if interpolation not in (None, "bilinear", "bicubic"):
        raise StkdError(f"interpolation is {interpolation!r}; use bilinear or bicubic")


def _parse(spec: str) -> tuple[str, Path | None]:
    kind, colon, rest = spec.partition(":")
    if kind not in sources:
        if spec and Path(_expand(spec)).exists():
            raise StkdError(f"{spec!r} is a path without a kind; write folder:{spec}, or KIND:{spec} for another kind")
        sources.get(kind)
    if colon and not rest:
        raise StkdError(f"{spec!r} has an empty path; write {kind}:PATH, or {kind} alone")
    return kind, Path(_expand(rest)) if rest else None


def _expand(text: str) -> str:
    path = os.path.expanduser(os.path.expandvars(text))
    unset = re.search(r"\$(\w+|\{\w+\})", path)
    if unset and not os.path.exists(path):
        raise StkdError(f"{text!r} names the variable {unset[0]}, which is not set; set it or write the path out")
    return path


def _resplit(data: DataSet, val_fraction: float, train_images: int | None, seed: int) -> DataSet:
    from .splits import hold_out, labelled_subset

    train, val = data.train, data.val
    if val_fraction > 0:
        if val is not None:
            raise StkdError(
                f"{data.name} has a validation split of its own ({len(val)} images); leave val_fraction at 0"
            )
        train, val = hold_out(train, val_fraction, data.classes, seed)
    if train_images is not None:
        train = labelled_subset(train, train_images, seed)
    mark = fingerprint(data.fingerprint, val_fraction=val_fraction, train_images=train_images, split_seed=seed)
    return replace(data, train=train, val=val, fingerprint=mark)
