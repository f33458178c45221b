"""`stkd predict` on many images: folders, patterns, broken files, CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def broken(pictures: Path) -> Path:
    """The folder of 20 pictures with a broken one, and a name for every trap of CSV and markup."""
    (pictures / "cat" / '0, "[green]".png').write_bytes((pictures / "cat" / "0.png").read_bytes())
    (pictures / "cat" / "3.png").write_text("no image")
    return pictures


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_has_a_row_for_each_image_and_a_bad_one_its_reason(
    student_run: Path, broken: Path, tmp_path: Path, stkd: Any
) -> None:
    answer = stkd("predict", student_run, broken, "--csv", tmp_path / "answers.csv", "--json")
    assert answer.code == 1
    assert answer.err == "stkd: warning: 1 of 21 images could not be read; their rows say why\n"
    entries = json.loads(answer.out)
    rows = rows_of((tmp_path / "answers.csv").read_text())
    assert [row["image"] for row in rows] == [entry["image"] for entry in entries]
    assert [row["image"] for row in rows] == sorted(str(path) for path in broken.rglob("*.png"))
    for row, entry in zip(rows, entries, strict=True):
        if row["image"].endswith("3.png") and "cat" in row["image"]:
            assert entry.keys() == {"image", "error"}
            assert (
                row["error"]
                == entry["error"]
                == "is broken or no image (its format is not known); delete or replace it"
            )
            assert row["student"] == row["teacher_probability"] == ""
            continue
        assert row["error"] == ""
        for model in ("student", "teacher"):
            assert (row[model], row[f"{model}_5"]) == (entry[model][0]["class"], entry[model][4]["class"])
            assert float(row[f"{model}_2_probability"]) == pytest.approx(entry[model][1]["probability"], rel=1e-5)


def test_answers_do_not_depend_on_the_images_beside(student_run: Path, broken: Path, stkd: Any) -> None:
    together = json.loads(stkd("predict", student_run, broken, "--json").out)
    files = [entry for entry in together if "error" not in entry]
    for entry in (files[0], files[-1]):
        (alone,) = json.loads(stkd("predict", student_run, entry["image"], "--json").out)
        assert [a["class"] for a in alone["student"]] == [a["class"] for a in entry["student"]]
        probabilities = [a["probability"] for a in entry["student"]]
        assert [a["probability"] for a in alone["student"]] == pytest.approx(probabilities, abs=1e-5)


def test_csv_can_be_printed_and_says_nothing_else(teacher_run: Path, broken: Path, stkd: Any) -> None:
    answer = stkd("predict", teacher_run, f"{broken}/dog/*.png", "--csv", "-", "--top", "1")
    assert (answer.code, answer.err) == (0, "")
    rows = rows_of(answer.out)
    assert len(rows) == 10
    assert list(rows[0]) == ["image", "model", "model_probability", "error"]


def test_many_images_are_a_table_of_one_row_each(
    student_run: Path, broken: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    answer = stkd("predict", student_run, broken / "cat", broken / "dog")
    assert answer.code == 1
    lines = [line for line in answer.out.splitlines() if ".png" in line]
    assert len(lines) == 21
    assert sum('0, "[green]".png' in line for line in lines) == 1
    assert sum("not read: it is broken or no image" in line for line in lines) == 1


def test_of_few_images_a_bad_one_says_why(student_run: Path, broken: Path, stkd: Any) -> None:
    answer = stkd("predict", student_run, broken / "cat" / "3.png", broken / "nowhere.png", broken / "cat" / "4.png")
    assert answer.code == 1
    assert "is broken or no image" in answer.out
    assert "cannot be read (No such file or directory)" in answer.out
    assert answer.out.count("%") == 10


def test_where_nothing_can_be_read_nothing_is_written(student_run: Path, tmp_path: Path, stkd: Any) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no image")
    target = tmp_path / "answers.csv"
    target.write_text("of before\n")
    answer = stkd("predict", student_run, f"{tmp_path}/*.png", "--csv", target)
    assert (answer.code, answer.out) == (2, "")
    assert "none of the 2 images can be read; the first: " in answer.err
    assert "a.png is broken or no image" in answer.err
    assert target.read_text() == "of before\n"
