"""The features before a model's classifier, of every image of a split; looked up where they were taken before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.errors import StkdError
from ..data.base import DataSet, Split
from ..data.decoded_cache import cached
from ..data.loader import eval_batches
from ..models.taps import POOLED, Taps

__all__ = ["pooled_features"]

_AT_ONCE = 64  # images in a pass


def pooled_features(
    model: nn.Module,
    split: Split,
    data: DataSet,
    *,
    key: str,
    see: Callable[[Tensor], Tensor] = lambda images: images,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features and labels of a split, without augmentation; files that are passed over are left out.

    Args:
        model: On the device, in evaluation mode.
        split: The images.
        data: The data set that they are of.
        key: Digest of all that the features depend on: model, images, and how the model sees them.
        see: From images (B, C, H, W), normalised as the data set says, to what the model takes.
        device: Where the model is.
        workers: Processes that decode images.

    Returns:
        Features float32 (N, D) and labels int64 (N,), read-only where they come from the cache.

    Raises:
        StkdError: The model has no linear classifier, or what passes into it is not one row of numbers an image.
    """

    def build() -> Mapping[str, NDArray[np.float32] | NDArray[np.int64]]:
        features, labels = [], []
        with Taps(model, [POOLED]) as taps, torch.no_grad():
            for images, truth in eval_batches(
                split, data, batch_size=_AT_ONCE, device=torch.device(device), workers=workers
            ):
                model(see(images))
                features.append(taps.take()[POOLED].float().cpu())
                labels.append(truth.cpu())
        if not features:
            raise StkdError(f"none of {len(split)} images of {data.name} can be decoded; replace the files")
        if features[0].ndim != 2:
            raise StkdError(
                f"{type(model).__name__} passes {tuple(features[0].shape[1:])} numbers an image to its last linear "
                "layer, not one row of pooled features; a probe needs a model that pools before its classifier"
            )
        return {"features": torch.cat(features).numpy(), "labels": torch.cat(labels).numpy()}

    stored = cached(key, ("features", "labels"), build)
    return stored["features"], stored["labels"]
