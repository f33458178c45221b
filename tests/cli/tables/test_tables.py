"""Tables print the names of a user's classes, files and models literally."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stkd.cli.tables.bench import show_bench
from stkd.cli.tables.catalogue import show_catalogue
from stkd.cli.tables.comparison import show_comparison
from stkd.cli.tables.demo import show_demo
from stkd.cli.tables.evaluation import show_evaluation
from stkd.cli.tables.predictions import show_predictions

ODD = "apple [green]", ":apple:", "[/]", "[bold]b[/bold]"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("name", ODD)
def test_predictions(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"class": name, "probability": 0.5}]
    show_predictions([{"image": f"{name}.png", "student": answers, "teacher": answers}])
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"{name}.png"
    assert out.count(name) == 3
    assert out.count("50.0%") == 2


@pytest.mark.parametrize("name", ODD)
def test_catalogue(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_catalogue([{"name": name, "summary": f"about {name}"}])
    assert capsys.readouterr().out.count(name) == 2


def evaluation(classes: tuple[str, ...]) -> dict[str, Any]:
    scores = {
        "top1": 0.75,
        "top1_interval": [0.41, 0.93],
        "class_accuracy": [0.5 + i / 100 for i in range(len(classes))],
        "class_interval": [[0.2, 0.8]] * len(classes),
        "class_images": [8] * len(classes),
        "mistaken": [[[0, 3]]] * len(classes),
        "calibration": {"ece": 0.1, "fitted_on": "halves", "temperatures": [1.0, 1.5]},
        "params": 1702,
        "file_bytes": 2_500_000,
    }
    alone = {**scores, "class_change": [0.25] * len(classes)}
    ood = {"images": 9, "data": classes[0], "model": {"auroc": 0.5, "mean_confidence": 1, "foreign_confidence": 1}}
    return {**scores, "images": 8, "split": "test", "threads": 1, "classes": classes, "alone": alone, "ood": ood}


@pytest.mark.parametrize("name", ODD)
def test_evaluation(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(evaluation((name,)), f"runs/{name}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"runs/{name}"
    assert f"Gained most against alone (points): {name} +25.0" in lines
    assert any(f"Against 9 images of {name}" in line for line in lines)
    assert [line.split() for line in lines if "parameters" in line] == [["parameters", "1,702", "1,702"]]
    assert [line.split()[-1] for line in lines if "weights on disk" in line] == ["2.500"]
    assert any("1.00 / 1.50" in line for line in lines)
    assert any("41.0% to 93.0%" in line for line in lines)
    assert any(name in line and "50.0%" in line and f"{name} (3)" in line for line in lines)


def test_of_many_classes_the_hardest_are_shown_and_where_all_are_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(evaluation(tuple(f"class{i}" for i in range(30))), "runs/a")
    out = capsys.readouterr().out
    assert "The 20 hardest of 30 classes" in out
    assert "class19 " in out
    assert "class20 " not in out
    assert "evaluation.json" in out


@pytest.mark.parametrize("name", ODD)
def test_demo(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    row: Any = SimpleNamespace(name=name, accuracies=[0.5, 0.6], params=1702, latency_ms=0.5)
    demo: Any = SimpleNamespace(rows=[row], story=f"On {name}.", page=f"runs/{name}/report.html", seconds=3.0)
    show_demo(demo)
    out = capsys.readouterr().out
    assert f"Curves and all runs: runs/{name}/report.html" in out
    assert f"On {name}." in " ".join(out.split())
    assert out.count(name) == 3


@pytest.mark.parametrize("name", ODD)
def test_comparison(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(
        SimpleNamespace(header=["method", name], words=1, rows=[[name, "1.0"]], notes=[f"note {name}"]), name
    )  # type: ignore[arg-type]
    assert capsys.readouterr().out.count(name) == 4


@pytest.mark.parametrize("name", ODD)
def test_many_predictions(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answered = [{"image": f"{i}.png", "model": [{"class": name, "probability": 0.5}]} for i in range(10)]
    show_predictions([*answered, {"image": name, "error": f"is broken ({name})"}])
    assert capsys.readouterr().out.count(name) == 12


def test_a_file_name_that_is_no_utf8_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_predictions([{"image": "a\udcff.png", "error": "is broken"}])
    assert "a\\xff.png" in capsys.readouterr().out


def test_bench(capsys: pytest.CaptureFixture[str]) -> None:
    result: Any = SimpleNamespace(
        teacher="timm/big[1]",
        teacher_weights="trained",
        student="small",
        method="stkd",
        batch_size=64,
        image_size=32,
        precision="bf16-mixed",
        device="cpu",
        images_per_s=300.0,
        ratio=2.5,
        bare_images_per_s=120.0,
        pairs=[(120.0, 300.0)],
        parts={"teacher": 3.0, "student_forward": 1.0},
        shares={"teacher": 0.75, "student_forward": 0.25},
        flops=SimpleNamespace(achieved=5e9, share=0.5, dtype="bfloat16", product_rate=1e10),
        memory=SimpleNamespace(copy_bytes_per_s=2e9, peak_bytes=2**30),
        speed={
            "teachers": [{"precision": "int8", "engine": "openvino", "int8": {"agreement": 1.0}}, None],
            "student": "compiled",
            "setup_seconds": 3.0,
        },
    )
    show_bench(result)
    out = capsys.readouterr().out
    assert "timm/big[1] -> small" in out
    assert "300 images/s, 2.50 times the bare float32 loop (120); medians of 1 pairs" in out
    assert ["student", "forward", "1.00", "25.0%"] in [line.split() for line in out.splitlines()]
    assert "teacher 75.0%, student forward 25.0%" in out
    assert "5 GFLOP/s, 50% of this device's matrix product in bfloat16 (10)" in out
    assert out.endswith("teacher in int8 by openvino; student compiled; ready after 3 s\n")
    assert "{" not in out
