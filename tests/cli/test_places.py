"""Folders with blanks and foreign letters, the locale C, and runs that were moved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PLAIN = {"LC_ALL": "C"}  # Python itself takes UTF-8 there
SHORT = ["--epochs", "2", "--accelerator", "cpu", "--image-size", "8", "--batch-size", "4", "--preflight", "off"]


def stkd(folder: Path, *words: object, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stkd", *map(str, words)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locale C")
def test_whole_way_in_an_odd_place(tmp_path: Path) -> None:
    place = tmp_path / "meine Bilder, größer 花"
    draw = np.random.default_rng(0)
    for name in ("Gänseblümchen", "Löwen zahn"):
        (place / "Blumen" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(place / "Blumen" / name / f"Bild {number} ü.png")
    stkd(place, "train", "--data", "folder:Blumen", "--model", "cnn4", "--out", "der Lehrer", *SHORT, **PLAIN)
    distil = ["distill", "--data", "folder:Blumen", "--teacher-weights", "der Lehrer", "--student", "cnn2"]
    stkd(place, *distil, "--out", "der Schüler", *SHORT, **PLAIN)
    moved = tmp_path / "verschoben"
    (place / "der Schüler").rename(moved)
    photo = place / "Blumen" / "Gänseblümchen" / "Bild 1 ü.png"
    (row,) = json.loads(stkd(tmp_path, "predict", moved, photo, "--json", **PLAIN))
    assert {one["class"] for one in row["student"]} == {"Gänseblümchen", "Löwen zahn"}
    stkd(place, "evaluate", moved, **PLAIN)
    stkd(place, "report", moved, **PLAIN)
    assert "Gänseblümchen" in (moved / "report.html").read_text(encoding="utf-8")
