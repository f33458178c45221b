"""The handwritten digits that ship inside scikit-learn: a real data set that needs no files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.errors import StkdError
from ..base import DataSet, Request, Split, sources
from ..channel_stats import channel_stats
from ..digest import fingerprint
from ..image_arrays import resize_images
from ..request_checks import fine_only
from ..splits import draw_stratified, take

TEST_IMAGES = 500


@sources.register("digits", "1,797 handwritten digits of 8 x 8 pixels, inside scikit-learn", "Alpaydin & Kaynak 1998")
def digits(path: Path | None, request: Request) -> DataSet:
    """1,297 training and 500 test images, a stratified split that is the same for every seed.

    Grey levels 0..16 become 0..255.
    """
    from sklearn.datasets import load_digits

    if path is not None:
        raise StkdError("digits comes with scikit-learn and takes no path; write digits alone")
    fine_only("digits", request)
    raw = load_digits()
    pixels = np.rint(raw.images * (255 / 16)).astype(np.uint8)[:, None]
    whole = Split(resize_images(pixels, request.image_size, **request.view), raw.target.astype(np.int64))
    test = draw_stratified(whole.labels, TEST_IMAGES, keep=1, rng=np.random.default_rng(0))
    train = np.setdiff1d(np.arange(len(whole)), test)
    mean, std = channel_stats(pixels[train])
    return DataSet(
        name="digits",
        classes=tuple("0123456789"),
        channels=1,
        size=request.image_size or pixels.shape[-1],
        mean=mean,
        std=std,
        augment="none",
        train=take(whole, train),
        val=None,
        test=take(whole, test),
        fingerprint=fingerprint(
            pixels.tobytes(), train.tobytes(), image_size=request.image_size, **request.unusual_view
        ),
        **request.view,
    )
