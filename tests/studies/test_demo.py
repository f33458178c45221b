"""The demo, cut short: its table, its record and its page."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from stkd.studies import demo

LABELS = {"student alone": "alone", "mixup": "mixup", "KD": "KD", "STKD": "STKD"}


pytestmark = pytest.mark.slow  # six small trainings


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    short = {"students": "cnn2", "seeds": 2, "teacher": {**demo._COMMON, "model": "cnn16", "epochs": 3}}
    short["options"] = {**demo._COMMON, "epochs": 6, "train_images": 128, "eval_every": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "_RECIPE", {**demo._RECIPE, **short})
        made = demo.demo(folder)
        assert made.page == folder / "report.html"
        assert [row.name for row in made.rows] == ["teacher", *LABELS]
        first = (folder / "results.json").read_text()
        demo.demo(folder)  # finished runs are not made again
        assert json.loads(first)["rows"][1]["accuracies"] == _rows(folder)[1]["accuracies"]
    return folder


def _rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())["rows"]
    return found


def _result(folder: Path, label: str, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (folder / "digits" / "cnn2" / label / f"seed-{seed}" / "result.json").read_text()
    )
    return found


def test_five_rows_whose_numbers_are_those_of_the_runs(out: Path) -> None:
    rows = _rows(out)
    assert [row["name"] for row in rows] == ["teacher", *LABELS]
    for row in rows[1:]:
        assert row["accuracies"] == [_result(out, LABELS[row["name"]], seed)["test"]["top1"] for seed in range(2)]
        assert [list(curve) for curve in row["curves"]] == 2 * [["2", "4", "6"]]
        assert [curve["6"] for curve in row["curves"]] == row["accuracies"]
    assert rows[0]["params"] > rows[1]["params"]
    assert [row["to_kd"] is None for row in rows][:4:3] == [True, True], "neither the teacher nor KD is beside KD"
    for row in rows[1:]:
        if row["to_kd"]:
            assert row["to_kd"]["difference"] == pytest.approx(mean(row["accuracies"]) - mean(rows[3]["accuracies"]))


def test_students_see_as_many_images(out: Path) -> None:
    assert len({_result(out, label, 1)["images_seen"] for label in LABELS.values()}) == 1


def test_page_shows_every_row_and_figure(out: Path) -> None:
    html = (out / "report.html").read_text()
    assert len(html) < 6_000_000
    for name in ("teacher", *LABELS.values()):
        assert f"</span>{name}</th>" in html
    for section in ("seeds", "curves", "cost", "reliability", "similarity", "classes", "disagreement", "virtual"):
        assert f'<section id="{section}"' in html


def test_the_command_prints_the_table(out: Path, monkeypatch: pytest.MonkeyPatch, stkd: Any) -> None:
    rows = [demo.DemoRow("teacher", [0.99], 94_000, 0.1), demo.DemoRow("KD", [0.9, 0.92], 1_880, 0.05)]
    monkeypatch.setattr(demo, "demo", lambda folder: demo.Demo(rows, "A story.", folder / "report.html", 12.0))
    answer = stkd("demo", "--out", out)
    assert answer.code == 0
    for text in ("91.00 ± 1.41", "99.00 ", "50x", "A story. Last epoch", "over 2 seeds", str(out / "report.html")):
        assert text in answer.out
