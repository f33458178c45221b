from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stkd.core.errors import StkdError
from stkd.data import channel_stats
from stkd.data.image_arrays import augment_for, resize_images


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(1, 40), channels=st.sampled_from([1, 3]), chunk=st.integers(1, 5000))
def test_stats_equal_numpys_whatever_the_chunk(seed: int, count: int, channels: int, chunk: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, 5, 7), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_stats, "CHUNK_VALUES", chunk)
        mean, std = channel_stats.channel_stats(images)
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-9)


def test_constant_images_can_still_be_divided_by_their_std() -> None:
    mean, std = channel_stats.channel_stats(np.full((3, 1, 4, 4), 51, np.uint8))
    assert mean == pytest.approx((0.2,))
    assert std == (1 / 255,)


def test_resize_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    assert resize_images(images, None) is images
    assert resize_images(images, 8) is images
    assert resize_images(images, 16).shape == (5, 3, 16, 16)
    with pytest.raises(StkdError, match="5 images do not fit memory at image_size 4000000; use at most 11965"):
        resize_images(images, 4_000_000)


def test_augmentation_by_size() -> None:
    assert [augment_for(size) for size in (28, 32, 64, 96, 224)] == ["crop4", "crop4", "crop8", "resized", "resized"]
