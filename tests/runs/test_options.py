"""Options of before and of now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stkd.core.errors import StkdError
from stkd.runs.options import check_unchanged


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What a run recorded that lay in /old."""
    options = {"out": "/old/kd/seed-0", "teacher_weights": "/old/teacher", "lr": None, "milestones": [0.5, 0.75]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**options, "workers": 2}))
    return tmp_path / "config.yaml"


def now(**changes: Any) -> dict[str, Any]:
    options = {"out": "/old/kd/seed-0", "teacher_weights": "/old/teacher", "lr": None, "milestones": [0.5, 0.75]}
    return {**options, "workers": 2, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"out": "/new/run", "workers": 0},
        {"option_of_a_later_version": 3},
        {"auto_augment": "none", "label_noise": 0.0},
        {"out": "/new/kd/seed-0", "teacher_weights": "/new/teacher"},
    ],
    ids=["same", "free", "later", "later, with its default", "moved as a whole"],
)
def test_goes_on(changes: dict[str, Any], file: Path) -> None:
    check_unchanged(file, now(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": 0.1}, "lr=None, now lr=0.1"),
        ({"milestones": [0.5]}, r"milestones=\[0.5, 0.75\], now milestones=\[0.5\]"),
        ({"auto_augment": "randaugment"}, "auto_augment=none, now auto_augment=randaugment"),  # a later option
        ({"teacher_weights": None}, "teacher_weights=/old/teacher, now teacher_weights=None"),
        ({"teacher_weights": "/old/other"}, "teacher_weights=/old/teacher, now teacher_weights=/old/other"),
        ({"out": "/new/kd/seed-0", "teacher_weights": "/old/teacher2"}, "now teacher_weights=/old/teacher2"),
    ],
)
def test_refuses(changes: dict[str, Any], said: str, file: Path) -> None:
    with pytest.raises(StkdError, match=f"^{file.parent} was started with .*{said}; give the same .*or another label"):
        check_unchanged(file, now(**changes), else_give="another label")


@pytest.mark.parametrize("content", [None, b"lr: [", b"- lr", b"lr", b"\xff", b""])
def test_damaged(content: bytes | None, file: Path) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    what = "missing" if content is None else "damaged"
    with pytest.raises(StkdError, match=f"{file} is {what}; give another --out, or delete {file.parent}"):
        check_unchanged(file, now())
