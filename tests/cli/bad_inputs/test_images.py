from __future__ import annotations

import shutil
import struct
import tarfile
import zlib
from typing import Any

import pytest
from PIL import Image


def broken_picture(place: Any) -> None:
    place.path("pictures/cat/3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing of use")


def cut_picture(place: Any) -> None:
    Image.effect_noise((64, 64), 80).convert("RGB").save(place.path("whole.jpg"))
    place.cut("whole.jpg", "pictures/dog/cut.jpg")


def bomb(place: Any) -> None:
    """A PNG of 60,000 x 60,000 pixels, as its header has it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    place.path("pictures/cat/bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels)


def tar_with_dots(place: Any) -> None:
    place.path("tars").mkdir()
    with tarfile.open(place.path("tars/train.tar"), "w") as tar:
        for name in ("../../a.png", "b.png"):
            tar.add(place.path("pictures/cat/3.png"), name)


def teacher_of_colours(place: Any) -> None:
    place.text("classes.txt", "\n".join(f"class {i}" for i in range(10)))
    place.weights("rgb.pth", channels=3)


ROWS: dict[str, tuple[Any, ...]] = {
    "corrupt": ("train --data folder:{pictures}", "3.png is broken or no image", "replace", broken_picture),
    "truncated": ("train --data folder:{pictures}", "cut.jpg is broken", "replace", cut_picture),
    "bomb": ("train --data folder:{pictures}", "bomb.png has too many pixels for one image", "delete or", bomb),
    "predict-bomb": ("predict {student_run} {pictures/cat/bomb.png}", "bomb.png has too many pixels", "scale", bomb),
    "empty-folder": (
        "train --data folder:{empty}",
        "has no images",
        "give a folder of images",
        lambda place: place.path("empty").mkdir(),
    ),
    "splits-inside-classes": (
        "train --data folder:{wrong}",
        "laid out as PATH/CLASS/SPLIT",
        "PATH/SPLIT/CLASS",
        lambda place: [
            shutil.copytree(place.path("pictures"), place.path(f"wrong/{name}/train")) for name in ("ant", "bee")
        ],
    ),
    "unlabelled-with-kd": (
        "distill --data folder:{loose} --method kd --teacher cnn4 --teacher-weights {rgb.pth} "
        "--teacher-classes {classes.txt}",
        "'kd' needs labels",
        "--method fm",
        lambda place: place.unlabelled(),
        teacher_of_colours,
    ),
    "unlabelled-alone": ("train --data folder:{loose}", "needs labels", lambda place: place.unlabelled()),
    "tar-with-dots": (
        "train --data webdataset:{tars}",
        "train.tar/../../a.png has '..' in its path",
        "--skip-bad true",
        tar_with_dots,
    ),
    "no-tars": ("train --data webdataset:{pictures}", "has no .tar files", "give the folder that holds them"),
    "predict-text": (
        "predict {student_run} {a.png}",
        "a.png is broken or no image",
        lambda place: place.text("a.png"),
    ),
    "predict-missing": ("predict {student_run} {nowhere.png}", "nowhere.png cannot be read", "check the file"),
    "predict-folder": (
        "predict {student_run} {empty}",
        "empty has no images",
        "a folder of images",
        lambda place: place.path("empty").mkdir(),
    ),
    "predict-pattern": ("predict {student_run} {pictures/*.gif}", "no file matches", "check the pattern"),
    "predict-address": ("predict {student_run} https://example.org/rose.jpg", "is a web address", "download it first"),
    "predict-only-broken": (
        "predict {student_run} {pictures/cat/3.png} {nowhere.png}",
        "none of the 2 images can be read",
        "3.png is broken or no image",
        broken_picture,
    ),
    "predict-csv-and-json": ("predict {student_run} {picture.png} --json --csv -", "both print", "give --csv a file"),
    "predict-csv-in-no-folder": (
        "predict {student_run} {picture.png} --csv {nowhere/a.csv}",
        "a.csv cannot be written",
        "a folder that is there",
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_image(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)
