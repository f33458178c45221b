"""The page and the card of a single run."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from stkd.cli.main import main
from stkd.core.errors import StkdError
from stkd.models.files import load_model, save_model
from stkd.report import write_report
from stkd.runs.description import command_of
from stkd.runs.evaluation import current_evaluation, read_evaluation
from stkd.runs.options import read_config


def test_page_of_a_distilled_student(student_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(student_run)]) == 0
    assert capsys.readouterr().out.strip() == str(student_run / "report.html")
    page = (student_run / "report.html").read_text()
    result = json.loads((student_run / "result.json").read_text())
    assert f"right on {100 * result['test']['top1']:.2f} % of the test images" in page
    assert "The student cnn2 was taught by the teacher cnn4 with the method stkd" in page
    assert "fitted on validation images" in page
    assert "stkd distill --out" in page


def test_page_of_a_model_trained_alone(teacher_run: Path) -> None:
    page = write_report(teacher_run).read_text()
    assert "The model cnn4 was trained alone with the method ce" in page
    assert "Where they disagree" not in page


def test_sentences_are_true_of_the_run(student_run: Path, teacher_run: Path, tmp_path: Path) -> None:
    """kd trains on real images, stkd on mixed ones; a model alone has no teacher to share anything with."""
    kd = tmp_path / "kd"
    command = [
        "distill",
        "--data",
        "digits",
        "--teacher-weights",
        str(teacher_run),
        "--student",
        "cnn2",
        "--epochs",
        "1",
    ]
    assert main([*command, "--method", "kd", "--out", str(kd), "--accelerator", "cpu", "--precision", "32"]) == 0
    pages = {run: " ".join(write_report(run).read_text().split()) for run in (student_run, kd, teacher_run)}
    said = {
        "mixed as in training": {student_run},
        "virtual samples, as the student was trained on.": {student_run},
        "was trained on real images and has seen no mixed ones": {kd},
        "virtual samples, as the student was not trained on.": {kd},
        "On virtual samples, train accuracy counts": {student_run},
        "This is what a teacher can hand over": {student_run, kd},
        "agreement is with the teacher": {student_run, kd},
    }
    assert {words: {run for run, page in pages.items() if words in page} for words in said} == said


def test_a_student_of_a_cache_was_taught_by_its_teacher(teacher_run: Path, tmp_path: Path) -> None:
    flags = ["--data", "digits", "--epochs", "1", "--train-images", "100", "--accelerator", "cpu", "--precision", "32"]
    cache, run = tmp_path / "cache", tmp_path / "run"
    assert main(["cache", *flags, "--teacher-weights", str(teacher_run), "--out", str(cache)]) == 0
    assert main(["distill", *flags, "--student", "cnn2", "--teacher-cache", str(cache), "--out", str(run)]) == 0
    assert "was taught by the teacher cnn4 with the method stkd" in (run / "README.md").read_text()
    assert "was taught by the teacher cnn4 with the method stkd" in write_report(run).read_text()


def test_every_class_is_listed_with_its_interval(student_run: Path) -> None:
    page = write_report(student_run).read_text()
    evaluation = current_evaluation(student_run)
    section = page[page.index('id="classes"') : page.index('id="disagreement"')]
    for name, images, (low, high) in zip(
        evaluation["classes"], evaluation["class_images"], evaluation["class_interval"], strict=True
    ):
        row = re.search(rf'scope="row">{name}</th>.*?</tr>', section, re.DOTALL)
        assert row is not None
        assert f">{images}<" in row[0]
        assert f">{100 * low:.1f} to {100 * high:.1f}<" in row[0]


def test_scores_on_the_page_are_those_of_the_run(student_run: Path) -> None:
    page = write_report(student_run).read_text()
    evaluation = current_evaluation(student_run)
    result = json.loads((student_run / "result.json").read_text())
    assert evaluation["top1"] == result["test"]["top1"]
    assert evaluation["nll"] == pytest.approx(result["test"]["nll"], rel=1e-5)
    assert sum(bin["count"] for bin in evaluation["calibration"]["bins"]) == evaluation["images"] == 500
    for number in (f"{100 * evaluation['top1']:.2f}", f"{evaluation['nll']:.3f}", f"{evaluation['latency_ms_1']:.2f}"):
        assert f">{number}<" in page


def test_a_page_never_shows_the_evaluation_of_other_weights(student_run: Path) -> None:
    before = write_report(student_run).read_text()
    old = current_evaluation(student_run)
    model, info = load_model(student_run)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    (student_run / "manifest.json").unlink()
    weights = student_run / "student.safetensors"
    stat = weights.stat()
    save_model(model, weights, info)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if copied with its time: same size, same time
    assert weights.stat().st_size == stat.st_size
    after = write_report(student_run).read_text()
    new = current_evaluation(student_run)
    assert new["nll"] != old["nll"]
    assert f">{old['nll']:.3f}<" in before
    assert f">{old['nll']:.3f}<" not in after
    assert f">{new['nll']:.3f}<" in after
    options = yaml.safe_load((student_run / "config.yaml").read_text())
    (student_run / "config.yaml").write_text(yaml.safe_dump({**options, "data": "folder:/nowhere"}))
    assert f">{new['nll']:.3f}<" not in write_report(student_run).read_text()  # of data that cannot be read


def test_examples_are_where_the_answers_differ(student_run: Path) -> None:
    examples = current_evaluation(student_run)["examples"]
    assert 0 < len(examples["disagreements"]) <= 12
    for example in examples["disagreements"]:
        assert example["student"][0][0] != example["teacher"][0][0]
        assert example["truth"] == [[example["truth"][0][0], 1.0]]
    for example in examples["virtual"]:
        assert 0.9 <= sum(share for _, share in example["truth"]) <= 1.0001
    page = write_report(student_run).read_text()
    assert page.count("<li><img src=") == len(examples["disagreements"]) + len(examples["virtual"])


def test_class_names_are_text(evil_run: Path) -> None:
    page = write_report(evil_run).read_text()
    assert "<img src=x" not in page
    assert "<b>cat" not in page
    assert "&lt;b&gt;cat" in page
    assert len(page) < 6_000_000
    assert "<img src=x" in (evil_run / "README.md").read_text()  # as text in Markdown's backquotes


def test_what_was_evaluated_is_on_the_page(student_run: Path, teacher_run: Path, pictures: Path) -> None:
    before = write_report(student_run).read_text()
    assert "Along lambda" in before
    assert 'id="robustness"' not in before
    assert 'id="foreign"' not in before
    command = ["evaluate", str(student_run), "--robustness", "--ood", f"folder:{pictures}"]
    assert main([*command, "--alone", str(teacher_run)]) == 0
    page = write_report(student_run).read_text()
    kept = read_evaluation(student_run)
    table = page[page.index('id="robustness"') : page.index('id="foreign"')]
    for who in ("teacher", "alone", "model"):
        assert f">{100 * kept['robustness'][who]['mean_top1']:.2f}<" in table
    for name in ("glass blur", "elastic transform"):
        assert name in table
    assert f"AUROC {kept['ood']['model']['auroc']:.3f}" in page
    assert f"{kept['ood']['images']} images of folder" in page
    assert len(page.encode()) < 6_000_000
    agreement = re.search(r'"y":(\[[^]]*\]),"type":"scatter"', page[page.index('id="lambda"') :])
    assert agreement is not None
    assert json.loads(agreement[1]) == kept["virtual"]["agreement"]


def test_unfinished_runs_and_other_folders_are_one_line(student_run: Path, tmp_path: Path) -> None:
    (student_run / "result.json").unlink()
    with pytest.raises(StkdError, match="is not finished; run its command again"):
        write_report(student_run)
    with pytest.raises(StkdError, match="is neither a run nor a comparison"):
        write_report(tmp_path)


def test_a_run_whose_weights_are_gone_says_so(student_run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (student_run / "student.safetensors").unlink()
    with caplog.at_level("WARNING", "stkd"):
        page = write_report(student_run).read_text()
    assert "the page shows no predictions: " in caplog.text
    assert "This page shows no predictions: " in page
    assert "test top1" in page


def test_the_command_repeats_the_options(student_run: Path) -> None:
    config = read_config(student_run)
    command = command_of(config, yaml.safe_load((student_run / "config.yaml").read_text()))
    for words in (
        f"--out {config.out}",
        "--data digits",
        "--student cnn2",
        "--epochs 2",
        "--val-fraction 0.2",
        "--precision 32",
    ):
        assert words in command
    assert "--batch-size" not in command


def test_card_says_how_to_load_the_model(student_run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (student_run / "README.md").read_text()
    assert "# cnn2 on digits" in text
    result = json.loads((student_run / "result.json").read_text())
    assert f"| test | {result['test']['top1']:.2%} |" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    shutil.copy(pictures / "cat" / "0.png", student_run / "IMAGE")
    monkeypatch.chdir(student_run)
    names: dict[str, object] = {}
    exec(code[1], names)
    assert names["info"] == load_model(student_run)[1]
