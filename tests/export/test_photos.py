"""Photos as phones and tools write them: the run and each of its exports see the same pixels in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stkd.export import export_run

from .web_pictures import write_pictures


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures in many formats, and a photo in each of the eight orientations."""
    folder = tmp_path_factory.mktemp("pictures")
    files = write_pictures(folder)
    source = next(file for file in files if file.name == "large.jpg")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        with Image.open(source) as image:
            image.crop((0, 0, 900 + 10 * orientation, 600)).save(folder / f"phone{orientation}.jpg", exif=exif)
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200), dtype=np.uint8)
    Image.merge("RGBA", [Image.fromarray(np.roll(noise, k)) for k in range(4)]).save(folder / "noise.png")
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_the_run_and_its_exports_answer_all_files_alike(
    files: list[Path], onnx: Any, run_of: Any, tmp_path: Path, stkd: Any
) -> None:
    run = run_of("cnn4")
    exports = [export_run(run, "onnx").file, export_run(run, "torch-export").file]
    exports.append(export_run(run, "onnx", out=tmp_path / "whole.onnx", whole_pictures=True).file)
    expected = json.loads(stkd("predict", run, *files, "--json").out)
    assert len(expected) >= 30
    for export in exports:
        found = json.loads(stkd("predict", export, *files, "--json").out)
        for one, other in zip(expected, found, strict=True):
            assert other["model"][0]["class"] == one["model"][0]["class"], (export.name, one["image"])
            difference = other["model"][0]["probability"] - one["model"][0]["probability"]
            assert abs(difference) < 1e-4, (export.name, one["image"])
