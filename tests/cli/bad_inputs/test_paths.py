from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def loop(place: Any) -> None:
    place.path("loop").symlink_to(place.path("loop"))


ROWS: dict[str, tuple[Any, ...]] = {
    "data-missing": ("train --data folder:{nowhere}", "nowhere does not exist", "check the path"),
    "data-without-path": ("train --data folder", "folder needs the place of its files", "folder:PATH"),
    "data-without-kind": ("train --data {pictures}", "without a kind", "write folder:"),
    "data-is-a-file": ("train --data folder:{a.txt}", "is a file", "folder", lambda place: place.text("a.txt")),
    "data-takes-no-path": ("train --data digits:{pictures}", "takes no path", "write digits alone"),
    "weights-missing": ("distill --teacher-weights {nowhere}", "nowhere does not exist", "give a .safetensors"),
    "start-weights-missing": ("train --weights {nowhere.pth}", "nowhere.pth does not exist"),
    "classes-missing": ("distill --teacher-classes {nowhere}", "cannot read the class names", "one name a line"),
    "out-is-a-file": ("train --out {file}", "is a file", "give --out a directory", lambda place: place.text("file")),
    "out-under-a-file": ("train --out {file/out}", "cannot write to", "--out", lambda place: place.text("file")),
    "out-is-a-foreign-folder": (
        "train --out {mine}",
        "is not empty",
        "new directory",
        lambda place: place.text("mine/thesis.txt"),
    ),
    "data-is-a-loop": ("train --data folder:{loop}", "loop does not exist", loop),
    "out-is-a-loop": ("train --out {loop}", "cannot write to", "give --out a directory", loop),
    "out-under-a-loop": ("train --out {loop/run}", "Too many levels of symbolic links", "--out", loop),
    "weights-are-a-loop": ("distill --teacher-weights {loop}", "loop does not exist", "give a .safetensors", loop),
    "cache-is-a-loop": ("distill --teacher-cache {loop}", "Too many levels of symbolic links", loop),
    "run-is-a-loop": ("evaluate {loop}", "loop is not a run directory", loop),
    "image-is-a-loop": ("predict {student_run} {loop}", "Too many levels of symbolic links", "check the file", loop),
    "out-cannot-be-made": ("train --out /proc/stkd", "cannot write to /proc/stkd", "--out"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_path(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows may write anywhere")
def test_folder_without_permission(tmp_path: Path, stkd: Any) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    answer = stkd("train", "--data", "digits", "--model", "cnn2", "--out", tmp_path / "locked" / "run")
    assert answer.code == 2
    assert "cannot write to" in answer.err
