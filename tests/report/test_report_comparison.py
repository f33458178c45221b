"""The page of a comparison: what is on it, and what becomes of records that are not whole."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from stkd.core.errors import StkdError
from stkd.report import write_report
from stkd.report.comparison_record import panels_of, read_record
from stkd.runs.evaluation import evaluate_run, read_evaluation


@pytest.fixture(scope="module")
def page(comparison: Path) -> str:
    return write_report(comparison).read_text()


def body(page: str) -> str:
    """What stands on the page, without style, plots and scripts."""
    return re.sub(r"<script.*?</script>", "", page[page.index("<body") :], flags=re.DOTALL)


def test_page_is_one_small_file_that_asks_for_nothing(page: str) -> None:
    assert len(page.encode()) < 6_000_000
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?(?!data:)[\w/.]", body(page))


def test_every_method_is_in_the_table_with_its_numbers(page: str, comparison: Path) -> None:
    record = read_record(comparison)
    text = html.unescape(body(page))
    for cell in record["cells"]:
        assert cell["method"] in text
        assert f"{100 * cell['mean']['top1']:.2f}" in text
    assert f"{100 * record['teachers']['digits']['test']['top1']:.2f}" in text


def test_failed_seeds_are_shown_with_their_reason(page: str) -> None:
    assert "failed (cnn2 on digits, seed 7): the loss became NaN" in body(page)
    assert "1 failed" in body(page)


def test_names_are_text_and_never_html(page: str) -> None:
    assert "<img src=x" not in page
    plots = re.findall(r'Plotly\.newPlot\(\s+"[\w-]+",\s+(\[.*?\}\]),\s+\{', page, re.DOTALL)
    assert len(plots) == page.count('class="plotly-graph-div"') > 8
    for plot in plots:
        assert "<" not in plot
        assert "<img" not in json.dumps(json.loads(plot))  # plotly would take names for HTML


def test_sections_of_predictions_are_there(page: str) -> None:
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings == [
        "Table",
        "Every seed",
        "Curves",
        "Accuracy against cost",
        "Reliability",
        "Similarity of classes",
        "Class by class",
        "Where they disagree",
        "Virtual samples",
        "Along lambda",
        "Again",
    ]
    assert len(re.findall(r'<img[^>]* src="data:image/png;base64,[^"]+" alt="[^"]+"', page)) > 12


def test_what_was_evaluated_of_the_runs_is_on_the_page(comparison: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(comparison, tmp_path / "comparison"))

    means = set()
    for run in (copy / "ce-0", copy / "kd-1"):  # the second is not of the first seed, whose predictions are shown
        means |= {m["mean_top1"] for m in evaluate_run(run, corrupted=True)["robustness"].values()}
    text = body(write_report(copy).read_text())
    table = text[text.index('id="robustness"') : text.index('id="again"')]
    assert len(means) == 3
    for mean_top1 in means:
        assert f">{100 * mean_top1:.2f}<" in table
    assert 'id="foreign"' not in text


def test_a_second_page_looks_at_no_model(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = write_report(comparison).read_text()
    monkeypatch.setattr("stkd.runs.evaluation.open_run", pytest.fail)
    assert write_report(comparison).read_text() == page
    shown = read_evaluation(comparison / "ce-0", teacher=comparison / "teacher")
    assert f">{shown['calibration']['scaled_ece']:.3f}<" in page


def test_of_many_methods_few_are_drawn(comparison: Path) -> None:
    record = read_record(comparison)
    many = [{**record["cells"][1], "method": f"m{i}"} for i in range(12)]
    panel = panels_of({**record, "cells": [*record["cells"], *many]})[0]
    drawn = [row.name for row in panel.drawn()]
    assert len(drawn) == 7
    assert {"alone", panel.best().name, panel.best("stkd").name} <= set(drawn)  # type: ignore[union-attr]


def altered(comparison: Path, folder: Path, **changes: Any) -> Path:
    record = json.loads((comparison / "comparison.json").read_text())
    (folder / "comparison.json").write_text(json.dumps({**record, **changes}))
    return folder


def test_records_that_cannot_be_shown_are_one_line(comparison: Path, tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="another version of stkd"):
        write_report(altered(comparison, tmp_path, schema=99))
    with pytest.raises(StkdError, match="is damaged; run the comparison again"):
        write_report(altered(comparison, tmp_path, cells=[{"data": "digits"}]))
    with pytest.raises(StkdError, match="is finished; run it again to go on"):
        write_report(altered(comparison, tmp_path, cells=[]))
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(StkdError, match="is damaged"):
        write_report(tmp_path)


def test_a_comparison_without_models_still_has_a_page(
    comparison: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(comparison, tmp_path / "moved"))
    for weights in folder.glob("*-*/student.safetensors"):
        weights.unlink()
    with caplog.at_level("WARNING", "stkd"):
        text = body(write_report(folder).read_text())
    assert "the page shows no predictions of alone, cnn2 on digits: " in caplog.text
    assert "No predictions of alone" in text
    assert "Every seed" in text
    assert "Reliability" not in text


def test_several_students_can_be_chosen_from(comparison: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(comparison, tmp_path / "two"))
    record = json.loads((folder / "comparison.json").read_text())
    record["cells"] += [{**cell, "student": "cnn1"} for cell in record["cells"]]
    text = write_report(altered(folder, folder, cells=record["cells"])).read_text()
    assert re.findall(r"<option[^>]*>(.*?)</option>", text) == ["cnn2 on digits", "cnn1 on digits"]
    assert {"0", "1"} == set(re.findall(r'data-panel="(\d)"', text))
