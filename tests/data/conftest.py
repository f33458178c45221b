"""Fixtures of the data source tests: a cache of their own, and images made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SaveImage = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("STKD_CACHE", str(folder))
    return folder


@pytest.fixture
def save_image() -> SaveImage:
    """Write an image of one colour, or of noise where the colour is left out."""

    def save(path: Path, size: tuple[int, int] = (20, 16), colour: tuple[int, int, int] | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if colour is None:
            seed = sum(os.fsencode(path))
            pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        else:
            Image.new("RGB", size, colour).save(path)
        return path

    return save
