"""The demo, cut short: its table, its record and its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stkd import demo


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "_SEEDS", range(2))
        patch.setattr(demo, "_TEACHER", {"model": "cnn16", "epochs": 3})
        patch.setattr(demo, "_STUDENT", {"student": "cnn2", "epochs": 6, "train_images": 128})
        demo.demo(folder)
        first = (folder / "results.json").read_text()
        demo.demo(folder)  # finished runs are not made again
        assert json.loads(first)["rows"][1]["accuracies"] == _rows(folder)[1]["accuracies"]
    return folder


def _rows(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / "results.json").read_text())["rows"]
    return found


def test_five_rows_whose_numbers_are_those_of_the_runs(out: Path) -> None:
    rows = _rows(out)
    assert [row["name"] for row in rows] == ["teacher", "student alone", "mixup", "KD", "STKD"]
    for row, method in zip(rows[1:], ("ce", "mixup", "kd", "stkd"), strict=True):
        made = [json.loads((out / f"{method}-{seed}" / "result.json").read_text())["test"]["top1"] for seed in range(2)]
        assert row["accuracies"] == made


def test_students_start_from_the_same_weights_and_see_as_many_images(out: Path) -> None:
    seen = {
        json.loads((out / f"{m}-1" / "result.json").read_text())["images_seen"] for m in ("ce", "mixup", "kd", "stkd")
    }
    assert len(seen) == 1


def test_page_shows_every_row_and_figure(out: Path) -> None:
    html = (out / "report.html").read_text()
    assert len(html) < 6_000_000
    for row in _rows(out):
        assert f"</span>{row['name']}</th>" in html
    for section in ("seeds", "curves", "cost", "reliability", "similarity", "classes", "disagreement", "virtual"):
        assert f'<section id="{section}"' in html
